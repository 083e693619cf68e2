import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bareEnv, node } from '../support/child.ts'
import { freePort } from '../support/ports.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { FOLDER, patiently, ROOT, run } from './support.ts'

/*
 * Goal: who types the first sample of the README into an empty folder has an application that listens.
 * Method: the README's own lines, but for the ports, which are somebody's, and the plugin, which is the packed one.
 */

const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
const blocks = (language: string) => [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, code]) => code!)
const [install, start, curls] = blocks('sh').map((code) => code.trim().split('\n')) as [string[], string[], string[]]
const sample = blocks('ts')[0]!
/** Where npm looks for packages is said in here. */
const npmEnv = process.env as Record<string, string>

t.test('the first sample of the README runs in an empty folder, listens, and its curl lines work', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'readme-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const tarball = join(FOLDER, (await readdir(FOLDER)).find((name) => name.endsWith('.tgz'))!)
  const [line] = install
  t.match(line, /^npm install .*\bfastify-jwt-revocation$/)
  const installed = await run(dir, 'sh', ['-c', `${line!.replace('fastify-jwt-revocation', tarball)} --no-audit --no-fund --loglevel=error`], npmEnv)
  t.equal(installed.code, 0, 'it is installed', { output: installed.output })

  const redis = await startRedis(t)
  for (const [store, given] of Object.entries({
    Redis: patiently(sample, '', "redis: 'redis://127.0.0.1:6379'").replace('redis://127.0.0.1:6379', redis.url),
    memory: sample.replace(",\n  redis: 'redis://127.0.0.1:6379'", '')
  })) {
    const port = await freePort()
    t.notMatch(given, '127.0.0.1:6379')
    t.match(given, '{ port: 3000 }')
    await writeFile(join(dir, 'server.mjs'), given.replace('{ port: 3000 }', `{ port: ${port} }`))
    t.strictSame(start, ['node server.mjs'])
    const child = spawn(...node(join(dir, 'server.mjs')), { cwd: dir, env: bareEnv(), stdio: 'ignore' })
    t.teardown(() => child.kill('SIGKILL'))

    const ask = async (line: string, env: Record<string, string> = {}) => {
      const { output } = await run(dir, 'sh', ['-c', `${line.replace('localhost:3000', `localhost:${port}`)} --silent`], env)
      return output === '' ? {} : JSON.parse(output) as Record<string, string>
    }
    const [login, me, revoke] = curls as [string, string, string]
    let issued: Record<string, string> = {}
    await eventually('it listens', async () => {
      issued = await ask(login)
      return issued.token !== undefined
    })
    const env = { TOKEN: issued.token!, JTI: issued.jti! }
    t.match(await ask(me, env), { sub: 'alice' }, `with ${store}`)
    t.match(await ask(revoke, env), { jti: env.JTI, status: 'revoked' })
    t.match(await ask(me, env), { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' })
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})
