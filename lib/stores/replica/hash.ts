import { randomBytes } from 'node:crypto'

const [KEY_0, KEY_1] = new Uint32Array(new Uint8Array(randomBytes(8)).buffer) as unknown as [number, number]

/**
 * HalfSipHash-1-3, 32 bits, with a key of this process: an attacker who chooses names of tokens can not
 * choose which of them collide. A collision costs only time, because the table compares whole names.
 */
export function hashOf (words: Uint32Array, start: number, length: number): number {
  let v0 = KEY_0 | 0
  let v1 = KEY_1 | 0
  let v2 = 0x6c796765 ^ KEY_0
  let v3 = 0x74656462 ^ KEY_1
  // One round for each word and one for the length, then three.
  for (let i = 0; i < length + 4; i++) {
    const word = i < length ? words[start + i]! : i === length ? length << 26 : 0
    if (i === length + 1) v2 ^= 0xff
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = v1 << 5 | v1 >>> 27
    v1 ^= v0
    v0 = v0 << 16 | v0 >>> 16
    v2 = (v2 + v3) | 0
    v3 = v3 << 8 | v3 >>> 24
    v3 ^= v2
    v0 = (v0 + v3) | 0
    v3 = v3 << 7 | v3 >>> 25
    v3 ^= v0
    v2 = (v2 + v1) | 0
    v1 = v1 << 13 | v1 >>> 19
    v1 ^= v2
    v2 = v2 << 16 | v2 >>> 16
    v0 ^= word
  }
  return (v1 ^ v3) >>> 0
}
