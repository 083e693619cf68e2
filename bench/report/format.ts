/** Enough digits to compare, and no more. */
export function figure (value: number): string {
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en')
  if (size >= 10) return value.toFixed(1)
  return value.toFixed(2)
}

export const times = (value: number) => `${value.toFixed(2)} ×`

/** A table of Markdown, padded so that it reads in a terminal as well. The first column is text, the others are figures. */
export function table (head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: string[]) => `| ${cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join(' | ')} |`
  const rule = `| ${widths.map((width, i) => i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`).join(' | ')} |`
  return [line(head), rule, ...rows.map(line)].join('\n')
}
