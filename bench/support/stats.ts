export function quantile (values: Iterable<number>, q: number): number {
  const sorted = Float64Array.from(values).sort()
  if (sorted.length === 0) throw new Error('no values, no quantile')
  const position = (sorted.length - 1) * q
  const below = sorted[Math.floor(position)]!
  return below + (sorted[Math.ceil(position)]! - below) * (position % 1)
}

export const median = (values: Iterable<number>) => quantile(values, 0.5)

/** A new order in each round, so that nobody always follows the same neighbour. */
export function shuffled<T> (values: readonly T[]): T[] {
  const result = [...values]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}

/** Monotonic and the same for all processes of a machine. */
export const clockOfMachine = () => Number(process.hrtime.bigint()) / 1e6
