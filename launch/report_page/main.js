// The parts of the report, each drawn when it is first opened.

const PARTS = { curves: drawCurves, evaluation: drawEvaluation, transcripts: drawTranscripts, configuration: drawConfiguration };

function part(name) {
  return document.getElementById(`part-${name}`);
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const drawn = new Set();
  const tabs = new Map(
    Object.keys(PARTS).map((name) => [name, element("a", { href: `#${name}`, role: "tab", "aria-controls": `part-${name}` }, name)]),
  );
  document.getElementById("tabs").append(...tabs.values());
  const show = () => {
    const chosen = location.hash.slice(1) in PARTS ? location.hash.slice(1) : "curves";
    for (const [name, tab] of tabs) {
      tab.setAttribute("aria-selected", String(name === chosen));
      part(name).hidden = name !== chosen;
    }
    tip.hide();
    if (!drawn.has(chosen)) PARTS[chosen](part(chosen), data);
    drawn.add(chosen);
  };
  addEventListener("hashchange", show);
  show();
}

start();
