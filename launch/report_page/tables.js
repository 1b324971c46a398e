// Evaluations with their intervals, and the configuration.

/** A share with its interval, as text and as a bar on the scale from 0 to 1. */
function interval({ value, low, high }) {
  if (low == null) return element("span", {}, number(value));
  const bar = element("span", { class: "interval", "aria-hidden": "true" });
  if (low >= 0 && high <= 1) {
    const range = element("i");
    range.style.left = percent(low).replace(" ", "");
    range.style.width = percent(high - low).replace(" ", "");
    const point = element("b");
    point.style.left = percent(value).replace(" ", "");
    bar.append(range, point);
  }
  return element("span", { class: "estimate" }, element("b", {}, number(value)), ` [${number(low)}, ${number(high)}]`, bar);
}

function cell(value) {
  const shown = value && typeof value === "object" && "value" in value ? interval(value) : typeof value === "number" ? number(value) : value;
  return element("td", { class: typeof value === "string" ? "" : "figure" }, shown == null ? "–" : shown);
}

function drawEvaluation(section, { runs }) {
  const tables = runs.flatMap((run, index) => run.evaluations.map((table) => ({ run, index, table })));
  if (!tables.length) section.append(element("p", { class: "empty" }, "No evaluation is recorded yet."));
  for (const { run, index, table } of tables) {
    section.append(
      element(
        "article",
        { class: "evaluation" },
        runs.length > 1 && runLabel(run, index),
        element("h2", {}, table.title),
        table.note && element("p", { class: "muted" }, table.note),
        element(
          "div",
          { class: "scroll" },
          element(
            "table",
            {},
            element("thead", {}, element("tr", {}, table.columns.map((name) => element("th", {}, name)))),
            element("tbody", {}, table.rows.map((row) => element("tr", {}, row.map(cell)))),
          ),
        ),
      ),
    );
  }
}

function drawConfiguration(section, { runs }) {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.config)))];
  const written = (run, key) => (key in run.config ? JSON.stringify(run.config[key]) : "");
  const differs = (key) => runs.some((run) => written(run, key) !== written(runs[0], key));
  const body = element("tbody");
  const view = { text: "", differences: false };
  const draw = () =>
    body.replaceChildren(
      ...keys
        .filter((key) => key.includes(view.text) && (!view.differences || differs(key)))
        .map((key) =>
          element("tr", { class: differs(key) ? "differs" : "" }, element("th", { scope: "row" }, key), runs.map((run) => element("td", {}, written(run, key)))),
        ),
    );
  const search = element("input", { type: "search", placeholder: "filter keys", "aria-label": "Filter keys", input: () => ((view.text = search.value), draw()) });
  section.append(
    element("div", { class: "tools" }, search, runs.length > 1 && checkbox("only what differs", (on) => ((view.differences = on), draw()))),
    element(
      "div",
      { class: "scroll" },
      element("table", { class: "configuration" }, element("thead", {}, element("tr", {}, element("th", {}, "key"), runs.map((run) => element("th", {}, run.name)))), body),
    ),
  );
  draw();
}
