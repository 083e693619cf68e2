import { Issuers } from './issuers.ts'

/** What a packed name is made of. */
export const UUID = 0
export const ISSUER_UUID = 1
export const TEXT = 2

/** Its length fits in the byte in front of a text. */
export const MAX_TEXT = 255

const NIBBLES = new Int8Array(256).fill(-1)
for (const [value, digit] of [...'0123456789abcdef'].entries()) NIBBLES[digit.charCodeAt(0)] = value

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** The characters of what is packed: one by one, those of a part of a larger string take several times as long to read. */
const BYTES = Buffer.alloc(256)
const HYPHEN = 45
const SLASH = 47

/**
 * One identity as 32-bit words, to be compared, hashed and kept without its string. Four words for a UUID, as nearly
 * every jti is; five for one of an issuer, which gets a number; else its characters. Always the same object, so that a
 * look-up allocates nothing.
 */
export class PackedName {
  readonly words = new Uint32Array((MAX_TEXT + 4) >>> 2)
  form = UUID
  /** How many of the words count. */
  length = 0
  readonly #issuers = new Issuers()

  /** How many issuers it knows by a number. */
  get issuers () {
    return this.#issuers.size
  }

  /**
   * Packs an identity, or gives false where it can't be: for a look-up (`learn` is false) one of an unknown issuer is not
   * there. Who learns keeps the name, or its issuer stays without anybody to give it back.
   */
  pack (identity: string, learn: boolean): boolean {
    const { length } = identity
    if (length === 36 && this.#packUuid(identity, 0)) {
      this.form = UUID
      this.length = 4
      return true
    }
    if (length > 37 && identity.charCodeAt(length - 37) === SLASH && this.#packUuid(identity.slice(-36), 1)) {
      const issuer = this.#numberOf(identity.slice(0, -37), learn)
      if (issuer === undefined) return false
      this.words[0] = issuer
      this.form = ISSUER_UUID
      this.length = 5
      return true
    }
    return this.#packText(identity)
  }

  #packUuid (text: string, word: number): boolean {
    if (BYTES.write(text) !== text.length) return false
    if (BYTES[8] !== HYPHEN || BYTES[13] !== HYPHEN || BYTES[18] !== HYPHEN || BYTES[23] !== HYPHEN) return false
    const a = fourDigits(0)
    const b = fourDigits(4)
    const c = fourDigits(9)
    const d = fourDigits(14)
    const e = fourDigits(19)
    const f = fourDigits(24)
    const g = fourDigits(28)
    const h = fourDigits(32)
    if ((a | b | c | d | e | f | g | h) < 0) return false
    const { words } = this
    words[word] = a << 16 | b
    words[word + 1] = c << 16 | d
    words[word + 2] = e << 16 | f
    words[word + 3] = g << 16 | h
    return true
  }

  #packText (text: string): boolean {
    if (text.length > MAX_TEXT) return false
    let bits = text.length
    let i = 0
    for (; i < text.length; i++) {
      const code = text.charCodeAt(i)
      // What encodeURIComponent made has ASCII only.
      if (code > 127) return false
      if ((i & 3) === 3) {
        this.words[i >>> 2] = bits
        bits = code
      } else bits |= code << (((i + 1) & 3) << 3)
    }
    this.words[i >>> 2] = bits
    this.form = TEXT
    this.length = (i >>> 2) + 1
    return true
  }

  #numberOf (issuer: string, learn: boolean): number | undefined {
    const known = this.#issuers.numberOf(issuer)
    return known !== undefined || !learn ? known : this.#issuers.add(copied(issuer))
  }

  /** The name that was packed is kept from now on: once more. */
  keep () {
    if (this.form === ISSUER_UUID) this.#issuers.keep(this.words[0]!)
  }

  /** One that was packed into the words from `start` on is kept no longer. */
  release (words: Uint32Array, start: number, form: number) {
    if (form === ISSUER_UUID) this.#issuers.release(words[start]!)
  }

  /** The identity that was packed into the words from `start` on. */
  unpack (words: Uint32Array, start: number, form: number): string {
    if (form === ISSUER_UUID) return `${this.#issuers.nameOf(words[start]!)}/${unpackUuid(words, start + 1)}`
    if (form === UUID) return unpackUuid(words, start)
    const byte = (i: number) => words[start + (i >>> 2)]! >>> ((i & 3) << 3) & 255
    return String.fromCharCode(...Array.from({ length: byte(0) }, (_, i) => byte(i + 1)))
  }
}

/** A part of a string keeps the whole of it in memory: here that is a page of the log. */
export function copied (part: string): string {
  return Buffer.from(part).toString()
}

/** Negative where one of them is no lower-case hexadecimal digit. */
function fourDigits (start: number): number {
  return NIBBLES[BYTES[start]!]! << 12 | NIBBLES[BYTES[start + 1]!]! << 8 | NIBBLES[BYTES[start + 2]!]! << 4 | NIBBLES[BYTES[start + 3]!]!
}

function unpackUuid (words: Uint32Array, start: number): string {
  const byte = (i: number) => HEX[words[start + (i >>> 2)]! >>> 24 - ((i & 3) << 3) & 255]
  return `${byte(0)}${byte(1)}${byte(2)}${byte(3)}-${byte(4)}${byte(5)}-${byte(6)}${byte(7)}-${byte(8)}${byte(9)}-` +
    `${byte(10)}${byte(11)}${byte(12)}${byte(13)}${byte(14)}${byte(15)}`
}
