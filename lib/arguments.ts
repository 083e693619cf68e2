import { isJti, isName, subOf } from './claims.ts'

const MAX_META_BYTES = 4096

/** The subject that is meant. */
export function checkSubject (method: string, given: unknown): string {
  const sub = subOf(given)
  if (sub && isName(sub)) return sub
  throw new TypeError(`${method}() needs a sub: a well-formed string of 1 to 1024 characters, or a safe integer`)
}

export function checkJti (method: string, jti: unknown) {
  if (isJti(jti)) return
  throw new TypeError(`${method}() needs a jti: a well-formed string of 1 to 255 characters, or a request of a scope that the plugin guards`)
}

export function checkId (method: string, id: unknown) {
  if (typeof id !== 'string') throw new TypeError(`${method}() needs the id of a record, a string`)
}

export function checkIssuer (method: string, iss: unknown) {
  if (iss !== undefined && !isName(iss)) throw new TypeError(`${method}() takes as iss a well-formed string of at most 1024 characters`)
}

/** As JSON, so that it reads back the same from every store. */
export function checkMeta (meta: Record<string, unknown>): Record<string, unknown> {
  const json = typeof meta === 'object' && meta !== null && !Array.isArray(meta) ? JSON.stringify(meta) : undefined
  if (json === undefined || Buffer.byteLength(json) > MAX_META_BYTES) {
    throw new TypeError(`meta must be an object of at most ${MAX_META_BYTES} bytes as JSON`)
  }
  return JSON.parse(json)
}
