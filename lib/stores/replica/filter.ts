/**
 * How many words a segment has here. For UUIDs these are 7.5 bits a name on average, and 3 to 7 of a hundred
 * names that are not kept are sent on to the table. More bits would save less time than they take room.
 */
export const FILTER_WORDS = 320

/**
 * Says of most names that they are not kept, with one look at far memory: the way to a record takes five, one
 * after another. Each name sets up to three bits of one word, by the table's hash, which has a key of this
 * process. All segments share one array, and each owns a part of it, which changes with the segment alone.
 */
export class Filter {
  #words = new Uint32Array(FILTER_WORDS)

  /** Whether a segment may hold a name of this hash. false is certain. */
  mayHave (segment: number, hash: number): boolean {
    const bits = bitsOf(hash)
    return (this.#words[placeOf(segment, hash)]! & bits) === bits
  }

  add (segment: number, hash: number) {
    this.#words[placeOf(segment, hash)]! |= bitsOf(hash)
  }

  /** Forgets the names of a segment. */
  clear (segment: number) {
    this.#words.fill(0, segment * FILTER_WORDS, (segment + 1) * FILTER_WORDS)
  }

  /** Makes room for so many segments. A copy takes a millisecond for ten million names. */
  grow (segments: number) {
    const words = segments * FILTER_WORDS
    if (words <= this.#words.length) return
    const grown = new Uint32Array(Math.ceil(words * GROWTH))
    grown.set(this.#words)
    this.#words = grown
  }
}

const GROWTH = 17 / 16

/** The lower bits of a hash have chosen the segment, so the upper half chooses the word. */
function placeOf (segment: number, hash: number): number {
  return segment * FILTER_WORDS + (((hash >>> 16) * FILTER_WORDS) >>> 16)
}

/** The product's upper bits depend on every bit of the hash. */
function bitsOf (hash: number): number {
  const mixed = Math.imul(hash, 0x9e3779b1)
  return 1 << (mixed >>> 27) | 1 << (mixed >>> 22) | 1 << (mixed >>> 17)
}
