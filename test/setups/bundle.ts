import { join } from 'node:path'
import type { Test } from 'tap'
import { startRedis } from '../support/redis.ts'
import { cycle, EXPECTED, patiently, place, recipe, serve } from './support.ts'

/** The recipe's server, bundled by `bundle`, which gives the file that it made. */
export async function tryBundle (t: Test, bundle: (dir: string, commands: string[]) => Promise<string>) {
  const { files, commands } = await recipe('bundlers')
  const server = patiently(files['server.js']!, ', mode: process.env.MODE')
  const dir = await place(t, { ...files, 'server.js': server, 'package.json': '{ "type": "module" }' })
  const bundled = join(dir, await bundle(dir, commands))
  const redis = await startRedis(t)
  for (const [store, env] of Object.entries({
    memory: {},
    Redis: { REDIS_URL: redis.url, MODE: 'strict' },
    'a replica': { REDIS_URL: redis.url, MODE: 'replica' }
  } as Record<string, Record<string, string>>)) {
    const { outcomes } = await cycle(await serve(t, bundled, env))
    t.strictSame(outcomes, EXPECTED, `with ${store}`)
  }
  t.equal((await redis.keys('jwt:revoked:?*')).length, 2, 'Redis has what was revoked there')
}
