// A bar chart as SVG without scripts, styles or fonts of its own, on its own light ground so that it reads on any page.
const WIDTH = 860
const BAR = 22
const GAP = 10
const TOP = 46
const LABELS = 370
const SCALE = WIDTH - LABELS - 90

export function drawBars(title, bars) {
  const height = TOP + bars.length * (BAR + GAP) + 16
  const largest = Math.max(...bars.map(({ value }) => value))
  const rows = bars.map(({ name, value, isOurs }, index) => {
    const y = TOP + index * (BAR + GAP)
    const width = Math.max(1, (value / largest) * SCALE)
    const weight = isOurs ? ' font-weight="bold"' : ''
    return [
      `<text x="${LABELS - 10}" y="${y + 15}" text-anchor="end"${weight}>${escape(name)}</text>`,
      `<rect x="${LABELS}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="3" fill="${isOurs ? '#0b6bcb' : '#9aa7b4'}"/>`,
      `<text x="${(LABELS + width + 8).toFixed(1)}" y="${y + 15}"${weight}>${value.toFixed(2)}</text>`,
    ].join('')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" font-family="sans-serif" font-size="13" fill="#1b2733">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" rx="8" fill="#ffffff" stroke="#d5dbe1"/>`,
    `<text x="20" y="28" font-size="16" font-weight="bold">${escape(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
