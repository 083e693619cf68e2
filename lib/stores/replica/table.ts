import type { Seconds } from '../../time.ts'
import { hashOf } from './hash.ts'
import type { PackedName } from './packed-name.ts'
import { Segment, sizeOf, type Kept } from './segment.ts'

/**
 * How many words a segment holds on average. A small segment is quick to rebuild. This is a quarter of what
 * an index can address: a segment holds twice as much before it is split, and chance adds to that.
 */
const SEGMENT_WORDS = 8192

/**
 * Names and what is kept of them, in typed arrays, which a garbage collection does not scan. The table grows
 * by linear hashing: one segment at a time takes half of another, so an insertion never moves more than that.
 */
export class Table {
  readonly #name: PackedName
  readonly #segments = [new Segment()]
  #words = 0
  #size = 0
  /** Whether many names are still to come: then a new segment gets room for all that it holds at last. */
  #isFilling = true
  /** Of the name that was sought last: its hash, and the number of its segment. */
  #hash = 0
  #number = 0
  /** Of the name that `get` found last: its slot and the place of its record; 0: none. */
  #slot = 0
  #offset = 0

  /** `name`: the caller packs into it the name that the next method call is about. */
  constructor (name: PackedName) {
    this.#name = name
  }

  /** How many names are kept. It counts ended entries until they are swept. */
  get size () {
    return this.#size
  }

  get segments () {
    return this.#segments.length
  }

  /** Until when the name is kept; 0: it is not kept. */
  until (): Seconds {
    const segment = this.#sought()
    const offset = segment.offsetAt(segment.slotOf(this.#name, this.#hash))
    return offset === 0 ? 0 : segment.data[offset]!
  }

  get (): Kept | null {
    const segment = this.#sought()
    this.#slot = segment.slotOf(this.#name, this.#hash)
    this.#offset = segment.offsetAt(this.#slot)
    return this.#offset === 0 ? null : segment.keptAt(this.#offset)
  }

  /** Replaces what is kept of the name that the last `get` was about. */
  set (kept: Kept) {
    const segment = this.#segments[this.#number]!
    const size = sizeOf(kept, this.#name)
    const standing = this.#offset
    const used = segment.used
    if (standing === 0) {
      this.#size++
      this.#name.keep()
    }
    segment.write(standing === 0
      ? segment.add(this.#hash, size)
      : segment.sizeOf(standing) === size ? standing : segment.replace(this.#slot, size), kept, this.#name)
    this.#words += segment.used - used
    if (this.#words > this.#segments.length * SEGMENT_WORDS) this.#split()
  }

  /** Drops what has ended in one segment. */
  sweep (number: number, now: Seconds) {
    const segment = this.#segments[number]!
    let ended = 0
    segment.each((offset) => { if (segment.data[offset]! <= now) ended++ })
    if (ended === 0) return
    const left = new Segment(segment.count - ended)
    segment.each((offset) => {
      if (segment.data[offset]! > now) left.copy(segment, offset, segment.hashAt(offset))
      else segment.release(offset, this.#name)
    })
    this.#segments[number] = left
    this.#size -= ended
    this.#words -= segment.used - left.used
  }

  unlog (number: number) {
    const segment = this.#segments[number]!
    segment.each((offset) => segment.unlog(offset))
  }

  /** Gives back the room of one segment that nothing uses. From now on segments grow in small steps. */
  trim (number: number) {
    this.#isFilling = false
    this.#segments[number]!.trim()
  }

  /** Gives what `spellingOf` gives of each name in one segment. */
  spellings (number: number): number[] {
    const segment = this.#segments[number]!
    const found: number[] = []
    segment.each((offset) => { found.push(segment.spellingAt(offset, this.#name)) })
    return found
  }

  /** Gives the entries of one segment. */
  entries (number: number): Array<Kept & { name: string }> {
    const segment = this.#segments[number]!
    const found: Array<Kept & { name: string }> = []
    segment.each((offset) => {
      found.push({ name: segment.identityAt(offset, this.#name), ...segment.keptAt(offset) })
    })
    return found
  }

  /** The segment where the name is, or would go. */
  #sought (): Segment {
    const { words, length } = this.#name
    this.#hash = hashOf(words, 0, length)
    this.#number = this.#numberOf(this.#hash)
    return this.#segments[this.#number]!
  }

  #numberOf (hash: number): number {
    const { length } = this.#segments
    const mask = (1 << 32 - Math.clz32(length - 1)) - 1
    const number = hash & mask
    return number < length ? number : number & mask >>> 1
  }

  /** Adds a segment, and moves its share of names there from the segment that held them. */
  #split () {
    const added = this.#segments.length
    const number = added - (1 << 31 - Math.clz32(added))
    const whole = this.#segments[number]!
    // A sparse index finds sooner that a name is new, as nearly all are that are still to come.
    const [names, words] = this.#isFilling ? [2, 1] : [0.52, 0.52]
    const half = () => new Segment(Math.ceil(whole.count * names), Math.ceil(whole.used * words))
    const parts = [half(), half()] as const
    this.#segments[number] = parts[0]
    this.#segments.push(parts[1])
    whole.each((offset) => {
      const hash = whole.hashAt(offset)
      parts[this.#numberOf(hash) === added ? 1 : 0].copy(whole, offset, hash)
    })
    this.#words += parts[0].used + parts[1].used - whole.used
  }
}
