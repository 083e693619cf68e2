import { denialKey, type Contender } from '../contenders/contender.ts'
import type { Database } from '../support/redis.ts'
import { forged, tokensOf, type Keys, type Token } from '../support/tokens.ts'

/** Before anything is measured: each contender accepts a good token, and refuses a forged and a revoked one. */
export async function tryOut (contender: Contender, port: number, keys: Keys, database: Database, seeded: string | undefined) {
  const url = `http://127.0.0.1:${port}`
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
  const expectStatus = async (what: string, wanted: number, token: string) => {
    const response = await fetch(`${url}/me`, bearer(token))
    const body = await response.text()
    if (response.status !== wanted) throw new Error(`${contender.name} answers ${what} with ${response.status} ${body}`)
    return body
  }

  const [good, revoked, old] = await tokensOf(keys, 3)
  const body = await expectStatus('a good token', 200, good!.token)
  if (contender.kind === 'open') return
  if (JSON.parse(body).sub !== good!.sub) throw new Error(`${contender.name} does not know whose token it is: ${body}`)
  await expectStatus('a forged token', 401, await forged(keys))
  if (contender.kind === 'verified') return

  await expectStatus('a token that is not revoked yet', 200, revoked!.token)
  if (contender.kind === 'ours') {
    const response = await fetch(`${url}/v1/jwt/history/${revoked!.jti}`, { method: 'DELETE', ...bearer(revoked!.token) })
    if (response.status !== 200) throw new Error(`${contender.name} answers a revocation with ${response.status} ${await response.text()}`)
  } else {
    await database.redis.set(denialKey(revoked!.jti), '1', 'EX', 7200)
  }
  const refusal = await expectStatus('a revoked token', 401, revoked!.token)
  if (contender.kind === 'ours' && JSON.parse(refusal).code !== 'FST_JWT_REVOKED') throw new Error(`${contender.name} refuses for another reason: ${refusal}`)
  await expectStatus('a good token after that', 200, old!.token)
  if (seeded !== undefined) {
    const [long] = await tokensOf(keys, 1, [seeded])
    await expectStatus('a token that was revoked before it started', 401, long!.token)
  }
}

/** Each of these processes refuses each of these tokens. */
export async function tryTokens (tokens: Token[], ports: number[]) {
  for (const port of ports) {
    for (const { token } of tokens) {
      const { status } = await fetch(`http://127.0.0.1:${port}/me`, { headers: { authorization: `Bearer ${token}` } })
      if (status !== 401) throw new Error(`a process accepts a token (${status}) that it says is refused`)
    }
  }
}
