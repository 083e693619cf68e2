/** Gives each issuer a number while any of its names is kept, and reuses the numbers that become free. */
export class Issuers {
  readonly #numbers = new Map<string, number>()
  readonly #names: string[] = []
  /** By number, how many kept names have the issuer. */
  readonly #uses: number[] = []
  readonly #free: number[] = []

  get size () {
    return this.#numbers.size
  }

  nameOf (number: number): string {
    return this.#names[number]!
  }

  numberOf (issuer: string): number | undefined {
    return this.#numbers.get(issuer)
  }

  /** Gives a new issuer its number. No name holds it until `keep`. */
  add (issuer: string): number {
    const number = this.#free.pop() ?? this.#names.length
    this.#names[number] = issuer
    this.#uses[number] = 0
    this.#numbers.set(issuer, number)
    return number
  }

  keep (number: number) {
    this.#uses[number]!++
  }

  release (number: number) {
    if (--this.#uses[number]! > 0) return
    this.#numbers.delete(this.#names[number]!)
    this.#names[number] = ''
    this.#free.push(number)
  }
}
