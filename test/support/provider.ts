import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CompactEncrypt, exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { FastifyInstance } from 'fastify'
import { inSeconds } from './app.ts'

/** Something with tap's teardown. */
interface Scope { teardown: (fn: () => unknown) => void }

export const AUDIENCE = 'the-client'
export const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

export type Claims = Record<string, unknown>

/** An identity provider: a key, a JWKS endpoint that counts, and the tokens that it signs. */
export async function startProvider (t: Scope) {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  const pem = await exportSPKI(publicKey)
  const jwk: JWK = { ...await exportJWK(publicKey), kid: 'k1', use: 'sig' }
  const state = { fetches: 0, status: 200 }
  const server = createServer(({ url = '' }, response) => {
    const isDiscovery = url.endsWith('/openid-configuration')
    if (!isDiscovery) state.fetches++
    const body = isDiscovery ? { issuer, jwks_uri: `${issuer}/.well-known/jwks.json` } : { keys: [jwk] }
    response.writeHead(state.status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  /** Asks for the key each time: what get-jwks does, without its cache. */
  async function secret (_request: unknown, token: { header: { kid?: string }, payload: { iss: string } }) {
    const response = await fetch(`${token.payload.iss}/.well-known/jwks.json`)
    if (!response.ok) throw Object.assign(new Error(response.statusText), { response })
    const { keys } = await response.json() as { keys: JWK[] }
    const found = keys.find(({ kid }) => kid === token.header.kid)
    if (found === undefined) throw new Error('No matching JWK found in the set.')
    return exportSPKI(await importJWK(found, 'RS256', { extractable: true }) as CryptoKey)
  }

  const sign = (claims: Claims, header: Claims = {}, key: CryptoKey | Uint8Array = privateKey) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header }).sign(key)
  const logoutClaims = (claims: Claims = {}): Claims => ({
    iss: issuer, aud: AUDIENCE, iat: inSeconds(0), exp: inSeconds(120), jti: randomUUID(), events: { [EVENT]: {} }, ...claims
  })
  return {
    issuer,
    state,
    pem,
    privateKey,
    /** Options of `@fastify/jwt` that verify this provider's tokens. */
    jwt: { secret, decode: { complete: true } } as object,
    sign,
    logoutClaims,
    logoutToken: (claims: Claims = {}, header: Claims = { typ: 'logout+jwt' }) => sign(logoutClaims(claims), header),
    accessToken: (claims: Claims = {}) => sign({
      iss: issuer, aud: 'an-api', sub: 'alice', jti: randomUUID(), iat: inSeconds(-30), exp: inSeconds(600), ...claims
    }, { typ: 'at+jwt' }),
    encrypted: async (claims: Claims) => new CompactEncrypt(new TextEncoder().encode(JSON.stringify(claims)))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM' }).encrypt(await importJWK({ ...jwk, alg: 'RSA-OAEP-256', use: 'enc' }))
  }
}

export const unsigned = (claims: Claims, header: Claims = { alg: 'none' }) =>
  [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') + '.'

/** What a provider posts; `more`: further parameters of the form. */
export async function postLogout (app: FastifyInstance, token: string, { path = '/backchannel-logout', more = '' } = {}) {
  return app.inject({
    method: 'POST',
    url: path,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: `logout_token=${encodeURIComponent(token)}${more}`
  })
}
