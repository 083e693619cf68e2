/** Gives each issuer a number while any of its names is kept, and reuses the numbers that become free. */
export class Issuers {
  readonly #numbers = new Map<string, number>()
  readonly #names: string[] = []
  /** By number, how many kept names have the issuer. */
  readonly #uses: number[] = []
  readonly #free: number[] = []
  /** The issuer that was asked for last. Most applications have one. */
  #lastName = ''
  #lastNumber = 0

  get size () {
    return this.#numbers.size
  }

  nameOf (number: number): string {
    return this.#names[number]!
  }

  /** The number of the issuer with which `identity` begins, up to `end`; undefined where it has none. */
  numberOf (identity: string, end = identity.length): number | undefined {
    if (end === this.#lastName.length && identity.startsWith(this.#lastName)) return this.#lastNumber
    const number = this.#numbers.get(identity.slice(0, end))
    if (number === undefined) return undefined
    this.#lastName = this.#names[number]!
    this.#lastNumber = number
    return number
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
    if (number === this.#lastNumber) this.#lastName = ''
    this.#free.push(number)
  }
}
