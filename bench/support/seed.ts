import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'

const CHUNK = 5000
const LIFETIME = 7200
const MARGIN = 10

/**
 * Fills Redis with revocations as the plugin keeps them: a key and an entry of the log each, by pipelines because the
 * plugin's own way takes minutes for a million. Gives the jti of one of them.
 */
export async function seed (redis: Redis, entries: number, prefix = 'jwt:'): Promise<string | undefined> {
  const at = Math.floor(Date.now() / 1000)
  const exp = at + LIFETIME
  const until = exp + MARGIN
  const denial = JSON.stringify({ at, exp })
  const start = (at - 3600) * 1000
  let prev = '0-0'
  let jti: string | undefined
  for (let done = 0; done < entries; done += CHUNK) {
    const commands: Array<Array<string | number>> = []
    for (let i = done; i < Math.min(done + CHUNK, entries); i++) {
      jti = randomUUID()
      const key = `revoked:${jti}`
      const id = `${start + Math.floor(i / 1000)}-${i % 1000 + 1}`
      commands.push(
        ['set', `${prefix}${key}`, denial, 'EXAT', until],
        ['xadd', `${prefix}log`, id, 'entry', `${key} ${at} ${exp} ${until} ${prev}  `]
      )
      prev = id
    }
    for (const [error] of (await redis.pipeline(commands).exec())!) {
      if (error) throw error
    }
  }
  return jti
}
