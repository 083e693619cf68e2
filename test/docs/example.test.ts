import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { bareEnv, program } from '../support/child.ts'
import { startRedis } from '../support/redis.ts'

const root = join(import.meta.dirname, '..', '..')

const STORY_PRINTED = /# log in[^]*# an administrator[^]*?\n\n/

/** The example application on a free port; `story` is what it prints for pasting. */
async function startExample (t: Test, env: Record<string, string>) {
  const child = spawn(...program(join(root, 'examples', 'server.ts')), {
    cwd: root, env: bareEnv({ PORT: '0', ...env }), stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  let out = ''
  for await (const chunk of child.stdout!.iterator({ destroyOnReturn: false })) {
    out += chunk
    // A line of log may come behind it.
    if (STORY_PRINTED.test(out)) break
  }
  child.stdout!.resume()
  return { child, story: STORY_PRINTED.exec(out)![0] }
}

async function stops (child: ChildProcess) {
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  return exited
}

async function tell (t: Test, story: string): Promise<string> {
  const cwd = await mkdtemp(join(tmpdir(), 'example-'))
  t.teardown(() => rm(cwd, { recursive: true }))
  const { stdout } = await promisify(execFile)('sh', ['-e', '-c', story], { cwd })
  return stdout
}

/** What the story comes to: each user that was let in, each revocation, each refusal, in turn. */
function outcomes (stdout: string): string[] {
  return [...stdout.matchAll(/"sub":"(\w+)","role"|"status":"(revoked)"|HTTP\/1.1 (401)|"code":"(\w+)"/g)]
    .map(([, sub, revoked, status, code]) => sub ?? revoked ?? status ?? code ?? '')
}

const REFUSED = ['401', 'FST_JWT_REVOKED']
const STORY = ['alice', 'revoked', ...REFUSED, 'bob', 'revoked', ...REFUSED,
  // In the list of sessions, then of the other one, then of the administrator's.
  'revoked', ...REFUSED, 'revoked', ...REFUSED]

t.test('the lines that the example prints tell the whole story, without Redis', async (t) => {
  const { child, story } = await startExample(t, { REDIS_URL: '' })
  t.same(outcomes(await tell(t, story)), STORY)
  t.same(await stops(child), [0, null], 'it ends by itself when asked to')
})

t.test('and with Redis', async (t) => {
  const redis = await startRedis(t)
  const { child, story } = await startExample(t, { REDIS_URL: redis.url })
  t.same(outcomes(await tell(t, story)), STORY)
  t.equal((await redis.keys('jwt:revoked:*')).length, 4)
  t.same(await stops(child), [0, null])
})
