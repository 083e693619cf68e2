import { spellingOf } from './spelling.ts'

/** At first. 3 of a hundred names that are not kept are sent on to the table, and 8 when it is full. */
const NAMES_A_WORD = 3.5
const MIN_WORDS = 256

/**
 * Says of most names that they are not kept, with one look at far memory. It reads the name as it is, in one
 * short loop: in a busy process, where other code has taken the caches, to pack a name takes several times as
 * long. It never forgets a name, so it is made anew now and then.
 */
export class Filter {
  readonly #words: Uint32Array
  readonly #most: number
  #count = 0

  /** `names`: how many are there to be added now. */
  constructor (names: number) {
    this.#words = new Uint32Array(Math.max(MIN_WORDS, Math.ceil(names / NAMES_A_WORD)))
    this.#most = this.#words.length * NAMES_A_WORD * 1.5
  }

  /** Whether so many were added that it says too little. */
  get isFull () {
    return this.#count > this.#most
  }

  /** Whether the name may have been added. false is certain. */
  mayHave (name: string): boolean {
    return this.#has(spellingOf(name))
  }

  add (name: string) {
    this.addSpelling(spellingOf(name))
  }

  addSpelling (hash: number) {
    if (this.#has(hash)) return
    this.#words[this.#placeOf(hash)]! |= bitsOf(hash)
    this.#count++
  }

  #has (hash: number): boolean {
    const bits = bitsOf(hash)
    return (this.#words[this.#placeOf(hash)]! & bits) === bits
  }

  #placeOf (hash: number): number {
    return Math.floor((hash >>> 0) * this.#words.length / 2 ** 32)
  }
}

/** The product's upper bits depend on every bit of the hash. */
function bitsOf (hash: number): number {
  const mixed = Math.imul(hash, 0x85ebca6b)
  return 1 << (mixed >>> 27) | 1 << (mixed >>> 22) | 1 << (mixed >>> 17)
}
