import { exportPKCS8, exportSPKI, generateKeyPair, SignJWT, importPKCS8 } from 'jose'
import { randomBytes, randomUUID } from 'node:crypto'

export type Algorithm = 'HS256' | 'ES256'

/** What signs and what verifies: one secret, or two PEMs. */
export interface Keys {
  algorithm: Algorithm
  private: string
  public: string
}

export interface Token {
  token: string
  jti: string
  sub: string
  iat: number
  exp: number
}

const LIFETIME = 7200
const SUBJECTS = 500

export async function keysFor (algorithm: Algorithm): Promise<Keys> {
  if (algorithm === 'HS256') {
    const secret = randomBytes(32).toString('hex')
    return { algorithm, private: secret, public: secret }
  }
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  return { algorithm, private: await exportPKCS8(privateKey), public: await exportSPKI(publicKey) }
}

/** Distinct tokens of a few hundred subjects; those of `jtis` first. */
export async function tokensOf (keys: Keys, count: number, jtis: string[] = []): Promise<Token[]> {
  const key = keys.algorithm === 'HS256' ? new TextEncoder().encode(keys.private) : await importPKCS8(keys.private, keys.algorithm)
  const iat = Math.floor(Date.now() / 1000) - 1
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const claims = { jti: jtis[i] ?? randomUUID(), sub: `user-${i % SUBJECTS}`, iat, exp: iat + LIFETIME }
    return { ...claims, token: await new SignJWT(claims).setProtectedHeader({ alg: keys.algorithm, typ: 'JWT' }).sign(key) }
  }))
}

/** Signed by somebody else. */
export async function forged (keys: Keys): Promise<string> {
  const [other] = await tokensOf(await keysFor(keys.algorithm), 1)
  return other!.token
}
