import fc from 'fast-check'

const SURROGATES = { first: 0xd800, many: 0x800 }

/** Any code point but half of a pair: as fast-check's unit "binary", which takes a second to make a table of them all. */
export const character = fc.integer({ min: 0, max: 0x10ffff - SURROGATES.many })
  .map((code) => String.fromCodePoint(code < SURROGATES.first ? code : code + SURROGATES.many))
