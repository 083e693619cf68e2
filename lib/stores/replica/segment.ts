import type { Seconds } from '../../time.ts'
import { hashOf } from './hash.ts'
import { ISSUER_UUID, UUID, type PackedName } from './packed-name.ts'

/** What is kept of one name, in whole seconds since the epoch. */
export interface Kept {
  /** When the token was revoked, or the second of the cutoff. */
  at: Seconds
  /** null means unknown. */
  exp: Seconds | null
  /** When the entry may be dropped; FOR_EVER: never. */
  until: Seconds
  logged: boolean
}

/** The latest time that fits. */
export const FOR_EVER: Seconds = 2 ** 32 - 1

/*
 * A record, in 32-bit words, an even number of them:
 *   until
 *   bits 0-1 form of the name, 2 wide, 3 logged, 4-8 until − exp (31: no exp), 9-31 until − at
 *   if wide, where one of these does not fit: at, exp (0: none)
 *   the name
 */
const WIDE = 4
const LOGGED = 8
const NO_EXP = 31
const MAX_AGE = 2 ** 23 - 1
/** Stands in the place of `until` when another record has replaced this one. */
const REPLACED = 0

const GROWTH = 33 / 32
/** Long searches are rare: but for a new name, the filter answers for nearly all that are not kept. */
const MAX_LOAD = 0.95
const LOAD = 0.85

/*
 * An entry of the index holds the place of its record, in units of two words, and two bits of its hash. The
 * two bits tell most records of other names apart without a look at them.
 */
const UNIT = 0x3fff
const TAG = 0xc000

const roundUp = (words: number) => (words + 1) & ~1
const roomFor = (words: number) => roundUp(Math.ceil(words * GROWTH))

function isWide ({ at, exp, until }: Kept): boolean {
  const age = until - at
  const slack = exp === null ? 0 : until - exp
  return age < 0 || age > MAX_AGE || slack < 0 || slack >= NO_EXP
}

/** How many words a record takes. */
export function sizeOf (kept: Kept, name: PackedName): number {
  return roundUp(name.length + (isWide(kept) ? 4 : 2))
}

/** Records one after another, and an open-addressed index of their places. A place of 0 means no record. */
export class Segment {
  data: Uint32Array
  used = 2
  index: Uint16Array
  count = 0

  /** Makes room for `count` records of `words` words in all. */
  constructor (count = 4, words = 2 + 6 * count) {
    this.data = new Uint32Array(roomFor(words))
    this.index = new Uint16Array(Math.ceil(count / LOAD) + 1)
  }

  #nameAt (offset: number): number {
    return offset + (this.data[offset + 1]! & WIDE ? 4 : 2)
  }

  #nameLength (offset: number): number {
    const form = this.data[offset + 1]! & 3
    return form === UUID ? 4 : form === ISSUER_UUID ? 5 : ((this.data[this.#nameAt(offset)]! & 255) + 4) >>> 2
  }

  sizeOf (offset: number): number {
    return roundUp(this.#nameAt(offset) - offset + this.#nameLength(offset))
  }

  /** The slot of the name, or the empty slot where it would go. */
  slotOf (name: PackedName, hash: number): number {
    const { index } = this
    let slot = firstSlot(hash, index.length)
    for (;;) {
      const entry = index[slot]!
      if (entry === 0 || (((entry ^ hash) & TAG) === 0 && this.#has((entry & UNIT) << 1, name))) return slot
      if (++slot === index.length) slot = 0
    }
  }

  /** The place of a slot's record; 0: there is none. */
  offsetAt (slot: number): number {
    return (this.index[slot]! & UNIT) << 1
  }

  #has (offset: number, { form, length, words }: PackedName): boolean {
    const { data } = this
    if ((data[offset + 1]! & 3) !== form) return false
    const start = this.#nameAt(offset)
    for (let i = 0; i < length; i++) {
      if (data[start + i] !== words[i]) return false
    }
    return true
  }

  keptAt (offset: number): Kept {
    const { data } = this
    const until = data[offset]!
    const header = data[offset + 1]!
    const logged = (header & LOGGED) !== 0
    if (header & WIDE) return { at: data[offset + 2]!, exp: data[offset + 3] || null, until, logged }
    const slack = header >>> 4 & NO_EXP
    return { at: until - (header >>> 9), exp: slack === NO_EXP ? null : until - slack, until, logged }
  }

  identityAt (offset: number, name: PackedName): string {
    return name.unpack(this.data, this.#nameAt(offset), this.data[offset + 1]! & 3)
  }

  spellingAt (offset: number, name: PackedName): number {
    return name.spelling(this.data, this.#nameAt(offset), this.data[offset + 1]! & 3)
  }

  /** Counts the record's name as kept no longer. */
  release (offset: number, name: PackedName) {
    name.release(this.data, this.#nameAt(offset), this.data[offset + 1]! & 3)
  }

  write (offset: number, kept: Kept, { form, words, length }: PackedName) {
    const { data } = this
    const { at, exp, until, logged } = kept
    data[offset] = until
    data[offset + 1] = form | (logged ? LOGGED : 0)
    if (isWide(kept)) {
      data[offset + 1]! |= WIDE
      data[offset + 2] = at
      data[offset + 3] = exp ?? 0
    } else data[offset + 1]! |= (exp === null ? NO_EXP : until - exp) << 4 | (until - at) << 9
    const start = this.#nameAt(offset)
    for (let i = 0; i < length; i++) data[start + i] = words[i]!
  }

  unlog (offset: number) {
    this.data[offset + 1]! &= ~LOGGED
  }

  /** Gives the place of a record of another size, which replaces the slot's record. */
  replace (slot: number, size: number): number {
    this.data[this.offsetAt(slot)] = REPLACED
    const offset = this.reserve(size)
    this.index[slot] = this.index[slot]! & TAG | offset >>> 1
    return offset
  }

  /** Gives the place of a new record of `size` words. */
  reserve (size: number): number {
    const offset = this.used
    this.used += size
    if (this.used > this.data.length) this.#resize(roomFor(this.used), offset)
    return offset
  }

  /** Gives back the room that nothing uses. */
  trim () {
    this.#resize(this.used, this.used)
    this.#reindex()
  }

  /** Makes room for `room` words, and keeps the first `kept`. */
  #resize (room: number, kept: number) {
    const data = new Uint32Array(room)
    data.set(this.data.subarray(0, kept))
    this.data = data
  }

  /** Gives the place of a new record, and enters it into the index. The caller fills it. */
  add (hash: number, size: number): number {
    if (this.count + 1 > this.index.length * MAX_LOAD) this.#reindex()
    const offset = this.reserve(size)
    this.count++
    this.#enter(hash, offset)
    return offset
  }

  /** Visits the place of each live record. `visit` must not add records. */
  each (visit: (offset: number) => void) {
    for (let offset = 2; offset < this.used; offset += this.sizeOf(offset)) {
      if (this.data[offset] !== REPLACED) visit(offset)
    }
  }

  hashAt (offset: number): number {
    return hashOf(this.data, this.#nameAt(offset), this.#nameLength(offset))
  }

  copy (from: Segment, offset: number, hash: number) {
    const size = from.sizeOf(offset)
    const to = this.add(hash, size)
    // To copy a few words in a loop takes less time than to make a subarray.
    for (let i = 0; i < size; i++) this.data[to + i] = from.data[offset + i]!
  }

  #enter (hash: number, offset: number) {
    const { index } = this
    let slot = firstSlot(hash, index.length)
    while (index[slot] !== 0) {
      if (++slot === index.length) slot = 0
    }
    index[slot] = hash & TAG | offset >>> 1
  }

  #reindex () {
    this.index = new Uint16Array(Math.ceil((this.count + 1) / LOAD))
    this.each((offset) => this.#enter(this.hashAt(offset), offset))
  }
}

/** Takes the upper half of a hash, because the lower half has chosen the segment. */
function firstSlot (hash: number, length: number): number {
  return ((hash >>> 16) * length) >>> 16
}
