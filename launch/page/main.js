// The parts of the report, each drawn when it is first looked at.

const PARTS = { curves: drawCurves, evaluation: drawEvaluation, transcripts: drawTranscripts, configuration: drawConfiguration };

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const drawn = new Set();
  const tabs = new Map(
    Object.keys(PARTS).map((name) => [name, element("a", { href: `#${name}`, role: "tab", "aria-controls": name }, name)]),
  );
  document.getElementById("tabs").append(...tabs.values());
  const show = () => {
    const chosen = location.hash.slice(1) in PARTS ? location.hash.slice(1) : "curves";
    document.body.dataset.part = chosen;
    for (const [name, tab] of tabs) {
      tab.setAttribute("aria-selected", String(name === chosen));
      document.getElementById(name).hidden = name !== chosen;
    }
    tip.hide();
    if (!drawn.has(chosen)) PARTS[chosen](document.getElementById(chosen), data);
    drawn.add(chosen);
    scrollTo(0, 0);
  };
  addEventListener("hashchange", show);
  show();
}

start();
