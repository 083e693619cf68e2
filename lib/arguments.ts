import { isName } from './claims.ts'

export function checkSubject (method: string, sub: unknown, iss: unknown) {
  if (!sub || !isName(sub)) throw new TypeError(`${method}() needs a sub: a well-formed string of 1 to 1024 characters`)
  checkIssuer(method, iss)
}

export function checkId (method: string, id: unknown) {
  if (typeof id !== 'string') throw new TypeError(`${method}() needs the id of a record, a string`)
}

export function checkIssuer (method: string, iss: unknown) {
  if (iss !== undefined && !isName(iss)) throw new TypeError(`${method}() takes as iss a well-formed string of at most 1024 characters`)
}
