import { randomInt } from 'node:crypto'
import { charCodeAt } from '../char-code.ts'

/**
 * Of no character, by a key of this process: whoever chooses names can not know which of them the filter
 * takes for each other.
 */
export const NO_CHARACTER = randomInt(2 ** 32) | 0

/** The hash of a name by its characters, one after another: with one more. By Knuth's constant. */
export function withCharacter (hash: number, code: number): number {
  return Math.imul(hash ^ code, 0x9e3779b1) ^ hash >>> 15
}

/** It costs less than the table's hash, and keeps its key less well. */
export function spellingOf (text: string): number {
  let hash = NO_CHARACTER
  for (let i = 0; i < text.length; i++) hash = withCharacter(hash, charCodeAt.call(text, i))
  return hash
}
