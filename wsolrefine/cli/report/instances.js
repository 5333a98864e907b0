// The objects of a map, as wsolrefine.instance_labels numbers them with its defaults: a pixel above
// the threshold climbs to the brightest around it, and basins are joined at their saddles, from the
// highest one down, unless both of their peaks are more than PROMINENCE above it.
const Instances = (() => {
  const PROMINENCE = 0.3, LEAST = 0.01;

  // For each pixel above the threshold the brightest around it: of equal ones, the first.
  function climb(values, limit, height, width) {
    const up = new Int32Array(values.length).fill(-1);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        if (!(values[at] > limit)) continue;
        let best = -1, most = limit;  // what is not above it, is not looked at
        for (let i = Math.max(y - 1, 0); i <= Math.min(y + 1, height - 1); i++) {
          for (let j = Math.max(x - 1, 0); j <= Math.min(x + 1, width - 1); j++) {
            const next = i * width + j;
            if (values[next] > most) { most = values[next]; best = next; }
          }
        }
        up[at] = best;
      }
    }
    return up;
  }

  // The basin of each pixel, -1 for none, and the pixel of each peak, in reading order.
  function basins(values, limit, height, width) {
    const peak = climb(values, limit, height, width), number = new Int32Array(values.length).fill(-1), peaks = [];
    for (let at = 0; at < peak.length; at++) {
      if (peak[at] === at) { number[at] = peaks.length; peaks.push(at); }
    }
    for (let start = 0; start < peak.length; start++) {
      if (peak[start] < 0) continue;
      let top = start;
      while (number[top] < 0) top = peak[top];
      for (let at = start; number[at] < 0; at = peak[at]) number[at] = number[top];
    }
    return {number, peaks};
  }

  // Pairs of neighbors in two basins, the lower pixel first; of equal ones that is the second.
  function crossings(values, number, height, width) {
    const pairs = [];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        if (number[at] < 0) continue;
        for (const [down, right] of [[0, 1], [1, 0], [1, 1], [1, -1]]) {
          if (y + down === height || x + right < 0 || x + right === width) continue;
          const next = at + down * width + right;
          if (number[next] < 0 || number[next] === number[at]) continue;
          pairs.push(values[at] >= values[next] ? [next, at] : [at, next]);
        }
      }
    }
    return pairs.sort(([low, high], [a, b]) =>
      values[a] - values[low] || low - a || values[b] - values[high] || high - b);
  }

  // The basin of each object, for all of its basins.
  function join(values, number, peaks, pairs) {
    const root = peaks.map((_, basin) => basin);
    const rootOf = basin => {
      while (root[basin] !== basin) basin = root[basin] = root[root[basin]];
      return basin;
    };
    for (const [low, high] of pairs) {
      const one = rootOf(number[low]), other = rootOf(number[high]);
      if (one === other) continue;
      const [a, b] = one < other ? [one, other] : [other, one];
      const [lower, higher] = values[peaks[a]] >= values[peaks[b]] ? [b, a] : [a, b];
      if (values[peaks[lower]] - values[low] <= PROMINENCE) root[lower] = higher;
    }
    return peaks.map((_, basin) => rootOf(basin));
  }

  // Numbers the objects of a map from 1 by descending peak; 0 is background.
  function label(values, threshold, height, width) {
    const {number, peaks} = basins(values, Math.fround(threshold), height, width);
    const joined = join(values, number, peaks, crossings(values, number, height, width));
    const area = new Int32Array(peaks.length), labels = new Uint8Array(values.length);
    for (const basin of number) if (basin >= 0) area[joined[basin]]++;
    const objects = peaks.map((_, basin) => basin).filter(basin => joined[basin] === basin)
      .sort((a, b) => values[peaks[b]] - values[peaks[a]] || a - b);
    const largest = objects.reduce((one, other) => (area[other] > area[one] ? other : one), objects[0]);
    const name = new Uint8Array(peaks.length);
    objects.filter(basin => area[basin] >= LEAST * values.length || basin === largest)
      .forEach((basin, index) => { name[basin] = index + 1; });
    for (let at = 0; at < labels.length; at++) if (number[at] >= 0) labels[at] = name[joined[number[at]]];
    return labels;
  }

  return {label};
})();
