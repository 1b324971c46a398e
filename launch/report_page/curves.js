// Every metric over the steps: a small chart each, all runs in one.

// Colors of Okabe and Ito, which differ under every kind of color blindness; dashes differ too.
const STROKES = [
  { color: "var(--blue)", dash: "" },
  { color: "var(--vermillion)", dash: "6 3" },
  { color: "var(--green)", dash: "2 3" },
  { color: "var(--purple)", dash: "8 3 2 3" },
  { color: "var(--ink)", dash: "1 3" },
  { color: "var(--orange)", dash: "12 4" },
];
const FIRST = ["solo", "eval", "reward", "tandem", "rollout", "turns", "policy", "loss", "grad", "logprob", "time"];
const CHART = { width: 340, height: 170, left: 46, right: 10, top: 10, bottom: 24 };

function stroke(run) {
  return STROKES[run % STROKES.length];
}

/** The metrics' keys, the telling ones first and those with the same prefix together. */
function metricKeys(runs) {
  const place = (key) => {
    const prefix = FIRST.indexOf(key.slice(0, key.indexOf("/")));
    return prefix < 0 ? FIRST.length : prefix;
  };
  return [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

/** Round numbers that span [low, high]. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999);
  const first = Math.ceil(low / size - 1e-9);
  const last = Math.floor(high / size + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * size).toPrecision(12)));
}

function tickText(value) {
  const text = value !== 0 && Math.abs(value) < 1e-3 ? Number(value.toPrecision(3)).toExponential() : value.toLocaleString("en", { maximumFractionDigits: 4 });
  return text.replaceAll("-", "−");
}

/** The running mean over `window` points to either side. */
function smoothed(points, window) {
  return points.map(([step], i) => {
    const near = points.slice(Math.max(0, i - window), i + window + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length];
  });
}

function extent(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const pad = high > low ? 0 : Math.abs(low) * 0.1 || 1;
  return [low - pad, high + pad];
}

/** One chart of `key` over the steps. */
function chart(key, runs, smooth) {
  const curves = runs.map((run, index) => ({ run, ...stroke(index), points: run.metrics[key] ?? [] }));
  const all = curves.flatMap((curve) => curve.points);
  const [left, right] = extent(all.map(([step]) => step));
  const [low, high] = extent(all.map(([, value]) => value));
  const inner = { width: CHART.width - CHART.left - CHART.right, height: CHART.height - CHART.top - CHART.bottom };
  const x = (step) => CHART.left + ((step - left) / (right - left)) * inner.width;
  const y = (value) => CHART.top + (1 - (value - low) / (high - low)) * inner.height;
  const path = (points) => points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");

  const plot = svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": `${key} over the steps` });
  for (const value of ticks(low, high, 4)) {
    plot.append(
      svg("line", { class: "grid", x1: CHART.left, x2: CHART.width - CHART.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: CHART.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, tickText(value)),
    );
  }
  for (const step of ticks(left, right, 5).filter(Number.isInteger)) {
    plot.append(svg("text", { class: "tick", x: x(step), y: CHART.height - 8, "text-anchor": "middle" }, String(step)));
  }
  for (const { color, dash, points } of curves) {
    const averaged = smooth && points.length > 8;
    if (averaged) plot.append(svg("path", { class: "raw", d: path(points), stroke: color }));
    const line = averaged ? smoothed(points, Math.ceil(points.length / 20)) : points;
    plot.append(svg("path", { class: "curve", d: path(line), stroke: color, "stroke-dasharray": dash }));
    if (points.length <= 12) {
      plot.append(...points.map(([step, value]) => svg("circle", { cx: x(step), cy: y(value), r: 3, fill: color })));
    }
  }
  const cursor = svg("line", { class: "cursor", y1: CHART.top, y2: CHART.height - CHART.bottom, visibility: "hidden" });
  plot.append(cursor);

  const steps = [...new Set(all.map(([step]) => step))].sort((a, b) => a - b);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const at = left + ((((event.clientX - box.left) / box.width) * CHART.width - CHART.left) / inner.width) * (right - left);
    const step = steps.reduce((best, candidate) => (Math.abs(candidate - at) < Math.abs(best - at) ? candidate : best));
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    cursor.setAttribute("visibility", "visible");
    const rows = curves.map(({ run, color, points }) => {
      const found = points.find(([candidate]) => candidate === step);
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = color;
      return found && element("div", {}, swatch, runs.length > 1 && `${run.name}  `, element("b", {}, number(found[1])));
    });
    tip.show(event, element("div", { class: "muted" }, `step ${step}`), ...rows.filter(Boolean));
  });
  plot.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    tip.hide();
  });
  const last = runs.length === 1 && curves[0].points.at(-1);
  const name = [element("span", { class: "muted" }, key.slice(0, key.indexOf("/") + 1)), key.slice(key.indexOf("/") + 1)];
  return element("figure", {}, element("figcaption", {}, element("span", {}, name), last && element("output", {}, number(last[1]))), plot);
}

/** What a run came to, in a line of figures. */
function headline(run, index, count) {
  const { metrics } = run;
  const figures = [];
  const add = (label, value) => figures.push(element("div", {}, element("dd", {}, value), element("dt", {}, label)));
  const solo = metrics["solo/accuracy"];
  if (solo?.length) add("solo accuracy, first and last", `${solo[0][1].toFixed(3)} → ${solo.at(-1)[1].toFixed(3)}`);
  const reward = metrics["reward/mean"];
  if (reward?.length) add("mean reward, first and last step", `${number(reward[0][1])} → ${number(reward.at(-1)[1])}`);
  const seconds = metrics["time/step_s"]?.map(([, value]) => value) ?? [];
  if (seconds.length) add("steps", String(seconds.length));
  if (seconds.length) add("minutes of training", (seconds.reduce((a, b) => a + b) / 60).toFixed(1));
  const rates = metrics["rollout/tokens_per_s"]?.map(([, value]) => value).sort((a, b) => a - b) ?? [];
  if (rates.length) add("tokens a second, median", number(Math.round(rates[Math.floor(rates.length / 2)])));
  return element("div", { class: "headline" }, count > 1 && runLabel(run, index), element("dl", {}, figures));
}

/** A run's name with the stroke that its curves have. */
function runLabel(run, index) {
  const { color, dash } = stroke(index);
  const sample = svg("svg", { class: "key", viewBox: "0 0 32 8" });
  sample.append(svg("path", { class: "curve", d: "M0 4H32", stroke: color, "stroke-dasharray": dash }));
  return element("h3", { class: "run" }, sample, run.name);
}

function drawCurves(section, { runs }) {
  const charts = element("div", { class: "charts" });
  const draw = (smooth) => charts.replaceChildren(...metricKeys(runs).map((key) => chart(key, runs, smooth)));
  section.append(
    ...runs.map((run, index) => headline(run, index, runs.length)),
    element("div", { class: "tools" }, checkbox("smooth (the running mean over a tenth of the steps)", draw)),
    charts,
  );
  draw(false);
}
