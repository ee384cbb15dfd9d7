"""The book's tools without a notebook: python -m miewid_lib embed, match, check, finetune."""

import argparse
import os
import sys
from pathlib import Path

from miewid_lib import commands
from miewid_lib.errors import MiewidError

PHOTOS = """\
PHOTOS is a file annotations.json (COCO, Wildbook) or annotations.csv, a folder that holds one (or
sub-folders that do), or plain folders: one folder an animal, all of --species.

Exit code: 0 done; 1 done, but some photos could not be used (each is named with its reason);
2 nothing done, because of the input (one line says why)."""
EMBED = f"""{PHOTOS}

A run that was stopped goes on where it was: repeat the command. The file holds `vectors` [N, D] and
a column each for image_path, x, y, w, h, species, individual and more: numpy.load opens it.

examples:
  python -m miewid_lib embed photos/ --model my_model.safetensors --out embeddings.npz
  python -m miewid_lib embed annotations.csv --model conservationxlabs/miewid-msv3 --out all.npz"""
MATCH = f"""QUERIES and CATALOGUE are files of `embed`, or folders of such files. With --model they
may also be folders of photos, which are embedded first. Names of encounters must have one meaning
in both.

{PHOTOS}

examples:
  python -m miewid_lib match new.npz catalogue.npz --top 5 --out matches.csv
  python -m miewid_lib match new/ catalogue/ --model my_model.safetensors --out matches.csv"""
CHECK = f"""{PHOTOS}

example:
  python -m miewid_lib check photos/ --species lion"""
FINETUNE = f"""First the loss alone learns, then all layers. Photos of other encounters and animals
are held out: my_model.csv holds both curves, and the epoch with the lowest validation loss is kept.
A run that was stopped goes on where it was: repeat the command. Same input, same threads, same
bytes.

{PHOTOS}

example:
  python -m miewid_lib finetune photos/ --species lion --model start.safetensors \\
      --out my_model.safetensors"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors about the input are one line and exit code 2."""
    args = parser().parse_args(argv)
    try:
        return getattr(commands, args.command)(args)
    except (MiewidError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of all four commands."""
    whole = argparse.ArgumentParser(prog="python -m miewid_lib", description=__doc__)
    verbs = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    verb = _command(verbs, "embed", "one vector for every photo, in a file", EMBED)
    verb.add_argument("photos", metavar="PHOTOS", type=Path)
    _add_model(verb, needed=True)
    verb.add_argument("--out", type=Path, required=True, help="file to write, .npz or .parquet")
    verb = _command(verbs, "match", "the most similar photos of a catalogue, as a table", MATCH)
    verb.add_argument("queries", metavar="QUERIES", type=Path)
    verb.add_argument("catalogue", metavar="CATALOGUE", type=Path)
    verb.add_argument("--top", type=_positive, default=5, help="candidates a query (default 5)")
    verb.add_argument("--out", type=Path, required=True, help="table to write, .csv")
    verb.add_argument("--across-species", action="store_true", help="candidates of any species")
    verb.add_argument("--one-each", action="store_true", help="each animal once, by its best photo")
    _add_model(verb, needed=False)
    verb = _command(verbs, "check", "what is wrong with photos and their table", CHECK)
    verb.add_argument("photos", metavar="PHOTOS", type=Path)
    verb.add_argument("--out", type=Path, help="table to write, .csv")
    _add_common(verb)
    _add_finetune(_command(verbs, "finetune", "teach a network your own animals", FINETUNE))
    return whole


def _add_finetune(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("photos", metavar="PHOTOS", type=Path)
    _add_model(verb, needed=True)
    verb.add_argument("--out", type=Path, required=True, help="weights to write, .safetensors")
    sided = "species whose two sides carry different patterns"
    verb.add_argument("--lateral", nargs="*", default=[], metavar="SPECIES", help=sided)
    verb.add_argument("--frozen-epochs", type=_positive, default=3, help="of the loss alone")
    verb.add_argument("--epochs", type=_positive, default=10, help="of all layers")
    verb.add_argument("--batch-size", type=_positive, default=32, help="photos a step")
    verb.add_argument("--lr-max", type=_rate, default=0.0018, help="learning rate at the top")
    share = "of the photos, held out (default 0.3)"
    verb.add_argument("--validation-share", type=_rate, default=0.3, help=share)
    verb.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    verb.add_argument("--seed", type=int, default=0, help="of split, order and augmentation")


def _command(verbs, name: str, what: str, text: str) -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    about = {"description": what[0].upper() + what[1:] + ".", "epilog": text}
    return verbs.add_parser(name, help=what, formatter_class=layout, **about)


def _add_model(verb: argparse.ArgumentParser, *, needed: bool) -> None:
    where = "file, folder or name on the hub of the weights"
    verb.add_argument("--model", required=needed, help=where)
    verb.add_argument("--revision", help="commit of the hub, where a number must be repeated")
    verb.add_argument("--size-px", type=_positive, help="side of the crops (default: the model's)")
    _add_common(verb)


def _add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--species", default="animal", help="of plain folders (default animal)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    verb.add_argument("--threads", type=_positive, default=cores, help="default: all cores")


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _rate(text: str) -> float:
    if not 0 < (value := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
