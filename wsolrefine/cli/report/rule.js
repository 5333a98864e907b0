// From a stored map to mask and box, with the same numbers as in Python: bilinear enlargement in
// the order and precision of torch, pixels above the threshold, the largest 8-connected component
// (of two of one size, the first in reading order), and the box of the nearest pixels of the image.
const Rule = (() => {
  const float = Math.fround;

  // Where the new pixels of an axis lie between the old ones. A product and a sum are rounded once,
  // as the instruction that does both rounds them.
  function axis(given, length) {
    const scale = float(given / length);
    const found = {first: new Int32Array(length), second: new Int32Array(length),
                   near: new Float32Array(length), far: new Float32Array(length)};
    for (let at = 0; at < length; at++) {
      const position = Math.max(float((at + 0.5) * scale - 0.5), 0);
      const first = Math.min(Math.floor(position), given - 1);
      found.first[at] = first;
      found.second[at] = Math.min(first + 1, given - 1);
      found.far[at] = Math.min(Math.max(float(position - first), 0), 1);
      found.near[at] = float(1 - found.far[at]);
    }
    return found;
  }

  // The old pixels that an axis looks at, in order: the only ones that the page has.
  function used(along) {
    return [...new Set([...along.first, ...along.second])].sort((a, b) => a - b);
  }

  function mix(one, near, other, far) {
    return float(one * near + float(other * far));
  }

  // torch interpolates to few pixels in another order: the four weights first.
  const SMALL = 128;

  function together(value, levels, down, across, row, column, given, size) {
    const small = new Float32Array(size[0] * size[1]);
    for (let y = 0; y < size[0]; y++) {
      const top = row.get(down.first[y]) * given, low = row.get(down.second[y]) * given;
      for (let x = 0; x < size[1]; x++) {
        const left = column.get(across.first[x]), right = column.get(across.second[x]);
        let sum = float(float(down.near[y] * across.far[x]) * value[levels[top + right]]);
        sum = float(float(down.near[y] * across.near[x]) * value[levels[top + left]] + sum);
        sum = float(float(down.far[y] * across.near[x]) * value[levels[low + left]] + sum);
        small[y * size[1] + x] = float(float(down.far[y] * across.far[x]) * value[levels[low + right]] + sum);
      }
    }
    return small;
  }

  // Enlarges a map of `height` and `width` to `size`, [height, width]. `unpack` returns the levels of
  // the rows and columns that are used, given their numbers.
  function enlarge(unpack, height, width, size) {
    const down = axis(height, size[0]), across = axis(width, size[1]);
    const rows = used(down), columns = used(across);
    const levels = unpack(rows.length, columns.length);
    const value = Float32Array.from({length: 256}, (_, level) => float(level / 255));
    const column = new Map(columns.map((place, index) => [place, index]));
    const row = new Map(rows.map((place, index) => [place, index]));
    if (size[0] + size[1] <= SMALL) {
      return together(value, levels, down, across, row, column, columns.length, size);
    }
    const wide = new Float32Array(rows.length * size[1]);
    for (let x = 0; x < size[1]; x++) {
      const first = column.get(across.first[x]), second = column.get(across.second[x]);
      const near = across.near[x], far = across.far[x];
      for (let y = 0; y < rows.length; y++) {
        const start = y * columns.length;
        wide[y * size[1] + x] = mix(value[levels[start + first]], near, value[levels[start + second]], far);
      }
    }
    const large = new Float32Array(size[0] * size[1]);
    for (let y = 0; y < size[0]; y++) {
      const first = row.get(down.first[y]) * size[1], second = row.get(down.second[y]) * size[1];
      const near = down.near[y], far = down.far[y], start = y * size[1];
      for (let x = 0; x < size[1]; x++) {
        large[start + x] = mix(wide[first + x], near, wide[second + x], far);
      }
    }
    return large;
  }

  function above(values, threshold) {
    const limit = float(threshold), mask = new Uint8Array(values.length);
    for (let i = 0; i < values.length; i++) mask[i] = values[i] > limit ? 1 : 0;
    return mask;
  }

  function largest(mask, height, width) {
    const part = new Int32Array(mask.length), stack = new Int32Array(mask.length);
    let count = 0, best = 0, most = 0;
    for (let start = 0; start < mask.length; start++) {
      if (!mask[start] || part[start]) continue;
      let waiting = 1, size = 0;
      part[start] = ++count;
      stack[0] = start;
      while (waiting) {
        const at = stack[--waiting], y = Math.floor(at / width), x = at - y * width;
        size++;
        for (let i = Math.max(y - 1, 0); i <= Math.min(y + 1, height - 1); i++) {
          for (let j = Math.max(x - 1, 0); j <= Math.min(x + 1, width - 1); j++) {
            const next = i * width + j;
            if (mask[next] && !part[next]) { part[next] = count; stack[waiting++] = next; }
          }
        }
      }
      if (size > most) { most = size; best = count; }
    }
    return mask.map((_, i) => (best && part[i] === best ? 1 : 0));
  }

  // Which old pixel is nearest to each new one of an axis.
  function nearest(given, length) {
    const scale = float(given / length);
    return Int32Array.from({length}, (_, at) => Math.min(Math.floor(float((at + 0.5) * scale)), given - 1));
  }

  // Box [x0, y0, x1, y1] and pixels in an image of each object of a mask of `size`: 1, 2...
  function regions(mask, size, height, width) {
    const rows = nearest(size[0], height), columns = nearest(size[1], width), found = [];
    const tall = new Int32Array(size[0]), wide = new Int32Array(size[1]);  // times in the image
    for (const row of rows) tall[row]++;
    for (const column of columns) wide[column]++;
    for (let y = 0; y < size[0]; y++) {
      for (let x = 0; x < size[1]; x++) {
        const object = mask[y * size[1] + x];
        if (!object) continue;
        const one = found[object - 1] ??= {left: x, right: x, top: y, bottom: y, area: 0};
        one.area += tall[y] * wide[x];
        one.left = Math.min(one.left, x);
        one.right = Math.max(one.right, x);
        one.bottom = y;
      }
    }
    return found.map(({left, right, top, bottom, area}) => ({
      box: [columns.indexOf(left), rows.indexOf(top), columns.lastIndexOf(right) + 1, rows.lastIndexOf(bottom) + 1], area,
    }));
  }

  return {enlarge, above, largest, regions};
})();
