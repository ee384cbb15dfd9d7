"""Where the bar goes: the terminal of the press, stderr, or nowhere; no item is lost."""

from miewid_lib.progress import progress


def test_bar_goes_to_stderr_outside_the_press(monkeypatch, capsys):
    monkeypatch.delenv("MIEWID_PROGRESS", raising=False)
    assert list(progress("abc", label="letters")) == ["a", "b", "c"]
    out, error = capsys.readouterr()
    assert out == ""
    assert "letters: 100%" in error and "3/3" in error


def test_bar_in_a_log_file_is_appended_and_stays_short(monkeypatch, capsys, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    monkeypatch.setenv("MIEWID_PROGRESS", str(log))
    assert sum(progress(iter(range(5000)), total=5000, label="photos")) == 5000 * 4999 // 2
    text = log.read_text()
    assert text.startswith("before\n") and text.endswith("\n")
    assert "photos: 100%" in text and "5000/5000" in text
    assert text.count("\r") <= 3
    assert capsys.readouterr() == ("", "")


def test_no_bar_where_the_terminal_cannot_be_opened(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MIEWID_PROGRESS", str(tmp_path / "missing" / "fd"))
    assert list(progress([1, 2], label="x")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_leaving_the_loop_early_closes_the_bar(monkeypatch, tmp_path):
    log = tmp_path / "log.txt"
    monkeypatch.setenv("MIEWID_PROGRESS", str(log))
    steps = progress(range(10), label="steps")
    assert next(steps) == 0
    steps.close()
    assert log.read_text().endswith("\n")
