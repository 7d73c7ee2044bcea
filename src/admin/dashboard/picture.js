// Pictures: sparklines, small bars, and the heat map of latency over time. Not here: the words and tables that say
// the same to those who do not see them.

/** The points of a line over time as a path; `null` breaks it, and a lone point is a dot. */
function pathOf(points, x, y) {
  let path = "", open = false;
  for (const [at, value] of points) {
    if (value === null || value === undefined) {
      open = false;
      continue;
    }
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    path += open ? `L${place}` : `M${place}h.1`;
    open = true;
  }
  return path;
}

/** A small picture of lines over time. `names` are their classes, from the lowest line to the highest. */
function sparkline(names, width, height) {
  const band = draw("path", { class: "band" });
  const lines = names.map((name) => draw("path", { class: name }));
  const svg = draw("svg", {
    class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true",
  }, band, ...lines);
  /** `rows`: an array a line of [time, value]; `from` and `to`: the time shown; `low` and `high`: the values. */
  svg.show = (rows, from, to, low, high) => {
    const x = (at) => ((at - from) / (to - from)) * (width - 2) + 1;
    const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * (height - 4);
    rows.forEach((row, i) => mark(lines[i], "d", pathOf(row, x, y)));
    const [bottom, top] = [rows[0], rows[rows.length - 1]].map((row) => row.filter(([, value]) => value !== null));
    const edge = (row) => row.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const under = rows.length > 1 ? edge(bottom.reverse()) : "";
    const floor = bottom.length ? `${x(top.at(-1)[0]).toFixed(1)} ${height}L${x(top[0][0]).toFixed(1)} ${height}` : "";
    mark(band, "d", top.length > 1 ? `M${edge(top)}L${under || floor}Z` : "");
  };
  return svg;
}

/** A small bar for each shard, as high as it has exchanges in flight, against `most`. */
function bars() {
  const svg = draw("svg", { class: "bars", role: "img", preserveAspectRatio: "none" });
  svg.show = (counts, most) => {
    const each = counts.length > 16 ? 3 : 8, gap = counts.length > 16 ? 1 : 3;
    mark(svg, "viewBox", `0 0 ${counts.length * (each + gap)} 24`);
    mark(svg, "width", counts.length * (each + gap));
    while (svg.childElementCount > counts.length * 2) svg.lastChild.remove();
    counts.forEach((count, i) => {
      const [back, bar] = [2 * i, 2 * i + 1].map((n) => svg.children[n] ?? svg.appendChild(draw("rect")));
      const tall = count === 0 ? 0 : Math.max(2, (count / most) * 24);
      for (const [rect, name, high] of [[back, "back", 24], [bar, "bar", tall]]) {
        mark(rect, "class", name);
        mark(rect, "x", i * (each + gap));
        mark(rect, "width", each);
        mark(rect, "y", 24 - high);
        mark(rect, "height", high);
      }
    });
    mark(svg, "aria-label", counts.map((count, i) => `shard ${i}: ${count}`).join(", "));
  };
  return svg;
}

/** A percentile of counts between bounds, in µs; `null` if there are none. Between bounds it is taken to lie as on a
 * logarithmic scale, which is how the bounds lie. */
function percentileOf(counts, bounds, share) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let left = share * all;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] > 0 && left <= counts[i]) {
      const [low, high] = edgesOf(bounds, i);
      return low * (high / low) ** (left / counts[i]);
    }
    left -= counts[i];
  }
  return bounds.at(-1);
}

/** A percentile of counts in words. Of what lies below the first bound or over the last no more is known. */
function asCounted(counts, bounds, share) {
  const us = percentileOf(counts, bounds, share);
  if (us !== null && us <= bounds[0]) return `<${asLength(bounds[0])}`;
  return us > bounds.at(-1) ? `>${asLength(bounds.at(-1))}` : asLength(us);
}

/** Between which lengths a slot's count `i` lies. The first begins somewhere and the last ends nowhere, so they are
 * shown as wide as their neighbours. */
function edgesOf(bounds, i) {
  const ratio = bounds.length > 1 ? bounds[1] / bounds[0] : 2;
  const low = i > 0 ? bounds[i - 1] : bounds[0] / ratio;
  return [low, i < bounds.length ? bounds[i] : bounds.at(-1) * ratio];
}

/** From few to many; the ends are told apart from the ground and from each other by their lightness alone. */
const RAMPS = {
  light: ["#dcecec", "#9ed2cf", "#4aa5ab", "#1b6c86", "#0f2f55"],
  dark: ["#173a41", "#146069", "#1f8e86", "#7ac77a", "#f7ea74"],
};

function colourOf(ramp, share) {
  const place = Math.min(share, 0.999) * (ramp.length - 1), i = Math.floor(place);
  const channels = [1, 3, 5].map((at) => {
    const [a, b] = [ramp[i], ramp[i + 1]].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * (place - i));
  });
  return `rgb(${channels})`;
}

const MARGIN = { left: 52, right: 10, top: 8, bottom: 22 };

/** The heat map: time from left to right, length on a logarithmic scale upwards, colour by how many. `read` gets
 * in words what lies under the pointer, or under the column that the arrow keys choose. */
function heatMap(canvas, read) {
  let shown = { columns: [], bounds: [], from: 0, to: 1, slotMs: 1000 };
  let chosen = null;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function frame() {
    const { clientWidth: width, clientHeight: height } = canvas;
    let lowest = Infinity, highest = -1;
    for (const { counts } of shown.columns) {
      counts.forEach((count, i) => {
        if (count > 0) [lowest, highest] = [Math.min(lowest, i), Math.max(highest, i)];
      });
    }
    if (highest < 0) return { width, height, empty: true };
    const low = Math.log(edgesOf(shown.bounds, Math.max(0, lowest - 1))[0]);
    const high = Math.log(edgesOf(shown.bounds, Math.min(shown.bounds.length, highest + 1))[1]);
    const x = (at) => MARGIN.left + ((at - shown.from) / (shown.to - shown.from)) * (width - MARGIN.left - MARGIN.right);
    const y = (us) => height - MARGIN.bottom - ((Math.log(us) - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    return { width, height, low, high, x, y };
  }

  function paint() {
    const { width, height, low, high, x, y, empty } = frame();
    if (width === 0) return;
    const ratio = devicePixelRatio || 1, style = getComputedStyle(canvas);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = `11px ${style.fontFamily}`;
    const [soft, ink, line] = ["--soft", "--ink", "--line"].map((name) => style.getPropertyValue(name));
    pen.fillStyle = soft;
    if (empty) {
      pen.textAlign = "center";
      pen.fillText("No exchanges of this phase in this time.", width / 2, height / 2);
      return;
    }
    const ramp = RAMPS[dark.matches ? "dark" : "light"];
    const most = Math.log1p(Math.max(...shown.columns.flatMap(({ counts }) => counts)));
    shown.columns.forEach(({ at, counts }, place) => {
      // A slot may have begun a little late; one that is missing leaves a gap.
      const next = shown.columns[place + 1]?.at ?? Infinity, until = next < at + 1.5 * shown.slotMs ? next : at + shown.slotMs;
      const left = Math.max(MARGIN.left, x(at)), right = Math.min(width - MARGIN.right, x(until));
      counts.forEach((count, i) => {
        if (count === 0 || right <= left) return;
        const [top, bottom] = edgesOf(shown.bounds, i).map(y).reverse();
        pen.fillStyle = colourOf(ramp, Math.log1p(count) / most);
        // Half a pixel over, or seams would show.
        pen.fillRect(left, top, right - left + 0.5, bottom - top + 0.5);
      });
    });
    paintScales(pen, { width, height, low, high, x, y }, soft, line);
    paintLine(pen, x, y, 0.5, ink, []);
    paintLine(pen, x, y, 0.99, ink, [4, 3]);
    if (chosen !== null && shown.columns[chosen]) {
      const left = x(shown.columns[chosen].at);
      pen.strokeStyle = ink;
      pen.strokeRect(left, MARGIN.top, x(shown.columns[chosen].at + shown.slotMs) - left, height - MARGIN.top - MARGIN.bottom);
    }
  }

  function paintScales(pen, { width, height, low, high, x, y }, soft, line) {
    pen.strokeStyle = line;
    pen.fillStyle = soft;
    pen.lineWidth = 1;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let us = 1; Math.log(us) <= high; us *= 10) {
      if (Math.log(us) < low) continue;
      pen.beginPath();
      pen.moveTo(MARGIN.left, y(us));
      pen.lineTo(width - MARGIN.right, y(us));
      pen.stroke();
      pen.fillText(asLength(us), MARGIN.left - 6, y(us));
    }
    const minutes = (shown.to - shown.from) / 60000, step = (minutes > 5 ? 2 : minutes > 2 ? 1 : 0.5) * (width < 480 ? 2 : 1);
    pen.textBaseline = "alphabetic";
    for (let back = 0; back <= minutes; back += step) {
      pen.textAlign = back === 0 ? "right" : back === minutes ? "left" : "center";
      pen.fillText(back === 0 ? "now" : step < 1 ? `−${back * 60} s` : `−${back} min`, x(shown.to - back * 60000), height - 6);
    }
  }

  function paintLine(pen, x, y, share, ink, dashes) {
    const points = shown.columns.map(({ at, counts }) => [at + shown.slotMs / 2, percentileOf(counts, shown.bounds, share)]);
    const path = new Path2D(pathOf(points, x, y)), ground = getComputedStyle(canvas).getPropertyValue("--card");
    // Over few and over many it must be seen, so it has an edge of the other lightness.
    for (const [colour, wide, dash] of [[ground, 3.5, []], [ink, 1.5, dashes]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.setLineDash(dash);
      pen.stroke(path);
    }
    pen.setLineDash([]);
    const last = points.findLast(([, us]) => us !== null);
    if (!last) return;
    const label = `p${share * 100}`, room = x(last[0]) - 8 > MARGIN.left + 30;
    pen.textAlign = room ? "right" : "left";
    pen.lineWidth = 3;
    pen.strokeStyle = ground;
    pen.strokeText(label, x(last[0]) + (room ? -4 : 4), y(last[1]) - 5);
    pen.fillStyle = ink;
    pen.fillText(label, x(last[0]) + (room ? -4 : 4), y(last[1]) - 5);
  }

  function tell(i, us) {
    const column = shown.columns[i];
    if (!column) return read("");
    const { at, counts } = column;
    const all = counts.reduce((sum, count) => sum + count, 0);
    const marks = [0.5, 0.99].map((share) => `p${share * 100} ${asCounted(counts, shown.bounds, share)}`);
    let text = `${asClock(at)}: ${asFigure(all)} exchanges, ${marks.join(", ")}`;
    const row = us === null ? -1 : counts.findIndex((_, i) => us < edgesOf(shown.bounds, i)[1]);
    if (row >= 0) {
      const [low, high] = edgesOf(shown.bounds, row);
      text += `; ${asFigure(counts[row])} took ${asLength(low)} to ${asLength(high)}`;
    }
    read(text);
  }

  canvas.addEventListener("pointermove", (event) => {
    const { height, low, high, x, empty } = frame();
    if (empty) return;
    const i = shown.columns.findIndex(({ at }) => x(at) <= event.offsetX && event.offsetX < x(at + shown.slotMs));
    const up = (height - MARGIN.bottom - event.offsetY) / (height - MARGIN.top - MARGIN.bottom);
    tell(i, up >= 0 && up <= 1 ? Math.exp(low + up * (high - low)) : null);
  });
  canvas.addEventListener("pointerleave", () => read(""));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || shown.columns.length === 0) return;
    event.preventDefault();
    const last = shown.columns.length - 1;
    chosen = Math.max(0, Math.min(last, (chosen ?? last + 1) + step));
    tell(chosen, null);
    paint();
  });
  canvas.addEventListener("blur", () => {
    chosen = null;
    read("");
    paint();
  });
  new ResizeObserver(paint).observe(canvas);
  dark.addEventListener("change", paint);

  return (next) => {
    shown = next;
    paint();
  };
}
