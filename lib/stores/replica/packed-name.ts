import { charCodeAt } from '../char-code.ts'
import { Issuers } from './issuers.ts'
import { NO_CHARACTER, spellingOf, withCharacter } from './spelling.ts'

/** The forms of a packed name. */
export const UUID = 0
export const ISSUER_UUID = 1
export const TEXT = 2

/** The byte in front of a text holds its length. */
export const MAX_TEXT = 255

/** The codes of the digits, and by code their values. */
const DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0))
const NIBBLES = new Int8Array(128).fill(-1)
for (const [value, code] of DIGITS.entries()) NIBBLES[code] = value

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const HYPHEN = 45
const SLASH = 47

/**
 * One identity as 32-bit words, which can be compared, hashed and kept without the string. A UUID takes four
 * words, and nearly every jti is one. A UUID of an issuer takes five: the first is the issuer's number. Any
 * other name takes its characters. The object is shared, so that a look-up allocates nothing.
 */
export class PackedName {
  readonly words = new Uint32Array((MAX_TEXT + 4) >>> 2)
  form = UUID
  /** How many of the words the name takes. */
  length = 0
  readonly #issuers = new Issuers()

  /** How many issuers have a number. */
  get issuers () {
    return this.#issuers.size
  }

  /**
   * Packs an identity; false where it can not. Without `learn` (a look-up), it can not pack a name of an
   * unknown issuer. A caller with `learn` must keep the name: otherwise nobody gives the issuer's number
   * back.
   */
  pack (identity: string, learn: boolean): boolean {
    const { length } = identity
    if (length === 36 && this.#packUuid(identity, 0, 0)) {
      this.form = UUID
      this.length = 4
      return true
    }
    const end = length - 37
    if (end > 0 && charCodeAt.call(identity, end) === SLASH && this.#packUuid(identity, end + 1, 1)) {
      const issuer = this.#issuers.numberOf(identity, end) ?? (learn ? this.#learn(identity, end) : undefined)
      if (issuer === undefined) return false
      this.words[0] = issuer
      this.form = ISSUER_UUID
      this.length = 5
      return true
    }
    return this.#packText(identity)
  }

  #packUuid (text: string, start: number, word: number): boolean {
    for (let i = 8; i <= 23; i += 5) {
      if (charCodeAt.call(text, start + i) !== HYPHEN) return false
    }
    const a = fourDigits(text, start)
    const b = fourDigits(text, start + 4)
    const c = fourDigits(text, start + 9)
    const d = fourDigits(text, start + 14)
    const e = fourDigits(text, start + 19)
    const f = fourDigits(text, start + 24)
    const g = fourDigits(text, start + 28)
    const h = fourDigits(text, start + 32)
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
      const code = charCodeAt.call(text, i)
      // encodeURIComponent gives only ASCII.
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

  #learn (identity: string, end: number): number {
    return this.#issuers.add(copied(identity.slice(0, end)))
  }

  /** Counts the packed name as kept once more. */
  keep () {
    if (this.form === ISSUER_UUID) this.#issuers.keep(this.words[0]!)
  }

  /** Counts the name in the words from `start` on as kept no longer. */
  release (words: Uint32Array, start: number, form: number) {
    if (form === ISSUER_UUID) this.#issuers.release(words[start]!)
  }

  /** Gives the identity in the words from `start` on. */
  unpack (words: Uint32Array, start: number, form: number): string {
    if (form === ISSUER_UUID) return `${this.#issuers.nameOf(words[start]!)}/${unpackUuid(words, start + 1)}`
    if (form === UUID) return unpackUuid(words, start)
    const codes = Array.from({ length: textByte(words, start, 0) }, (_, i) => textByte(words, start, i + 1))
    return String.fromCharCode(...codes)
  }

  /** What `spellingOf` gives of the identity in the words from `start` on. */
  spelling (words: Uint32Array, start: number, form: number): number {
    let hash = NO_CHARACTER
    if (form === TEXT) {
      const length = textByte(words, start, 0)
      for (let i = 1; i <= length; i++) hash = withCharacter(hash, textByte(words, start, i))
      return hash
    }
    let digits = start
    if (form === ISSUER_UUID) hash = withCharacter(spellingOf(this.#issuers.nameOf(words[digits++]!)), SLASH)
    for (let i = 0; i < 32; i++) {
      if (i === 8 || i === 12 || i === 16 || i === 20) hash = withCharacter(hash, HYPHEN)
      hash = withCharacter(hash, DIGITS[words[digits + (i >>> 3)]! >>> 28 - ((i & 7) << 2) & 15]!)
    }
    return hash
  }
}

/** Copies a part of a string. The part itself would keep the whole string in memory: a page of the log. */
export function copied (part: string): string {
  return Buffer.from(part).toString()
}

/** The value of four digits; negative where one of them is no lower-case hexadecimal digit. */
function fourDigits (text: string, start: number): number {
  const a = charCodeAt.call(text, start)
  const b = charCodeAt.call(text, start + 1)
  const c = charCodeAt.call(text, start + 2)
  const d = charCodeAt.call(text, start + 3)
  if ((a | b | c | d) > 127) return -1
  return NIBBLES[a]! << 12 | NIBBLES[b]! << 8 | NIBBLES[c]! << 4 | NIBBLES[d]!
}

/** One byte of a text, of which the first is its length. */
function textByte (words: Uint32Array, start: number, i: number): number {
  return words[start + (i >>> 2)]! >>> ((i & 3) << 3) & 255
}

function unpackUuid (words: Uint32Array, start: number): string {
  const byte = (i: number) => HEX[words[start + (i >>> 2)]! >>> 24 - ((i & 3) << 3) & 255]
  return `${byte(0)}${byte(1)}${byte(2)}${byte(3)}-${byte(4)}${byte(5)}-${byte(6)}${byte(7)}-` +
    `${byte(8)}${byte(9)}-${byte(10)}${byte(11)}${byte(12)}${byte(13)}${byte(14)}${byte(15)}`
}
