// The curves of wsolrefine evaluate.
(() => {
  const shown = Report.content.evaluation;
  if (!shown) return;
  find("evaluation").hidden = false;
  find("evaluated").textContent = shown.source;
  for (const [name, value] of shown.numbers) {
    find("numbers").append(make("dt", name), make("dd", `${value.toFixed(1)}\u202f%`));
  }
  const [left, top, wide, high] = [40, 10, 420, 230];
  for (const chart of shown.charts) {
    const most = Math.max(...chart.lines.flatMap(line => line.points.map(([x]) => x))) || 1;
    const place = ([x, y]) => [left + wide * x / most, top + high * (1 - y / 100)].map(v => v.toFixed(1));
    const svg = draw("svg", {viewBox: `0 0 ${left + wide + 10} ${top + high + 40}`, role: "img"});
    const marks = chart.lines.map(line => line.mark === null ? line.name
      : `${line.name}: ${line.points[line.mark][1]} at ${line.points[line.mark][0]}`);
    svg.setAttribute("aria-label", `${chart.title}. ${marks.join("; ")}`);
    for (let i = 0; i <= 4; i++) {
      const [x, y] = place([most * i / 4, 25 * i]);
      svg.append(draw("line", {x1: left, x2: left + wide, y1: y, y2: y}));
      svg.append(draw("text", {x: left - 6, y: +y + 4, "text-anchor": "end"}, 25 * i));
      svg.append(draw("text", {x, y: top + high + 16, "text-anchor": "middle"}, +(most * i / 4).toPrecision(3)));
    }
    svg.append(draw("text", {x: left + wide / 2, y: top + high + 34, "text-anchor": "middle"}, chart.x));
    svg.append(draw("text", {x: 12, y: top + high / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${top + high / 2})`}, chart.y));
    const legend = make("ul", undefined, {className: "legend"});
    chart.lines.forEach((line, number) => {
      const path = draw("path", {d: "M" + line.points.map(point => place(point).join(" ")).join("L")});
      path.style.setProperty("--run", color(number));
      svg.append(path);
      if (line.mark !== null) {
        const [cx, cy] = place(line.points[line.mark]);
        const dot = draw("circle", {cx, cy, r: 4});
        dot.style.setProperty("--run", color(number));
        svg.append(dot);
      }
      const item = make("li", marks[number]);
      item.style.setProperty("--run", color(number));
      legend.append(item);
    });
    const figure = make("figure");
    figure.append(make("figcaption", chart.title), svg, legend);
    find("charts").append(figure);
  }
})();
