// Below each result the words around the first hit. The theme would fetch the pages for that,
// which browsers refuse for files on a disk; texts.js holds them as a script instead.
addEventListener("DOMContentLoaded", () => {
  const words = (new URLSearchParams(location.search).get("q") || "")
    .toLowerCase().split(/\s+/).filter(Boolean);
  const results = document.getElementById("search-results");
  if (!results || !words.length) return;
  const around = (text) => {
    const places = words.map((word) => text.toLowerCase().indexOf(word)).filter((at) => at >= 0);
    if (!places.length) return "";
    const start = Math.max(0, text.lastIndexOf(" ", Math.max(0, Math.min(...places) - 60)));
    const end = text.indexOf(" ", start + 200);
    return (start ? "… " : "") + text.slice(start, end < 0 ? undefined : end).trim() + " …";
  };
  new MutationObserver(() => {
    for (const link of results.querySelectorAll("li > a")) {
      const item = link.parentElement;
      if (item.querySelector(".context")) continue;
      const page = link.getAttribute("href").replace(/\.html.*$/, "");
      const context = document.createElement("p");
      context.className = "context";
      context.textContent = around(BOOK_TEXTS[page] || "");
      item.append(context);
    }
  }).observe(results, { childList: true, subtree: true });
});
