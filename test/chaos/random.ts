/** Numbers that a seed decides: mulberry32. */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 up to 1. */
  next (): number {
    this.#state = (this.#state + 0x6D2B79F5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  between (low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  chance (probability: number): boolean {
    return this.next() < probability
  }

  pick<T> (all: readonly T[]): T {
    return all[Math.floor(this.next() * all.length)]!
  }

  /** One of the names, each as often as its weight says. */
  weighted<T extends string> (weights: Record<T, number>): T {
    const entries = Object.entries<number>(weights) as Array<[T, number]>
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) if ((left -= weight) < 0) return name
    return entries.at(-1)![0]
  }

  /** A sequence of its own, so that what one part of a run draws does not change what another one gets. */
  fork (): Random {
    return new Random(Math.floor(this.next() * 2 ** 32))
  }
}
