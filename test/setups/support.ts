import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { bareEnv, node } from '../support/child.ts'

/** Where run.ts has installed the tools and the packed plugin. */
export const FOLDER = process.env.SETUPS_FOLDER!
export const ROOT = join(import.meta.dirname, '../..')

/** Jest ends a test after 5 s, which a busy machine may need. */
export const PATIENT_JEST = ['--ci', '--testTimeout=600000']

/** What a recipe shows: its files by name (a block whose first line is `// name`), and its lines of shell. */
export async function recipe (name: string) {
  const markdown = await readFile(join(ROOT, 'docs/recipes', `${name}.md`), 'utf8')
  const blocks = [...markdown.matchAll(/^```(js|ts|sh)\n(.*?)^```/gms)].map(([, language, code]) => ({ language, code: code! }))
  const files = blocks.filter(({ language }) => language !== 'sh').map(({ code }) => {
    const named = /^\/\/ (\S+)\n/.exec(code)
    if (named === null) throw new Error(`a block of ${name}.md does not say which file it is: ${code}`)
    return [named[1]!, code] as const
  })
  const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ code }) => code.trim().split('\n'))
  return { files: Object.fromEntries(files) as Record<string, string>, commands }
}

/** A recipe's server, that waits for Redis as long as a busy machine may need, with further options. */
export function patiently (code: string, options = '', redis = 'redis: REDIS_URL') {
  const patient = code.replace(redis, `${redis}, storeTimeout: 20_000${options}`)
  if (patient === code) throw new Error(`the recipe gives no ${redis}`)
  return patient
}

/** A folder inside an installation, with these files. */
export async function place (t: Test, files: Record<string, string>, folder = FOLDER): Promise<string> {
  const dir = join(folder, `work-${t.name.replace(/\W+/g, '-').slice(0, 160)}`)
  await rm(dir, { recursive: true, force: true })
  for (const [name, code] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), code)
  }
  return dir
}

/** tap puts a loader into every process that a test starts. */
const without = (command: string, args: string[]): [string, string[]] => ['env', ['-u', 'NODE_OPTIONS', command, ...args]]

/** Runs one of the tools, or node. Gives its exit code and what it prints. */
export async function run (cwd: string, command: string, args: string[] = [], env: Record<string, string> = {}) {
  const path = [join(FOLDER, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(':')
  const options = { cwd, env: { ...bareEnv(), ...env, PATH: path, NO_COLOR: '1', CI: 'true' }, maxBuffer: 2 ** 26 }
  const { code = 0, stdout, stderr } = await promisify(execFile)(...without(command, args), options).catch((error) => error)
  return { code, output: `${stdout}${stderr}` }
}

/** A line of a recipe's shell, with the tools that are installed. */
export const shell = (cwd: string, line: string) => run(cwd, 'sh', ['-c', line.replace(/^npx /, '')])

/** Starts a server that prints its URL, and ends it with the test. */
export async function serve (t: Test, file: string, env: Record<string, string> = {}): Promise<string> {
  const child = spawn(...node(file), { env: { ...bareEnv(), PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  let errors = ''
  child.stderr.on('data', (chunk) => { errors += chunk })
  for await (const line of createInterface(child.stdout)) if (/^https?:/.test(line)) return line
  throw new Error(`${file} ended before it listened: ${errors}`)
}

/** Logs in, uses the token, revokes it, and uses it again, over HTTP. */
export async function cycle (url: string, { me = '/me', login = '/login', history = '/v1/jwt/history' } = {}) {
  const ask = async (method: string, path: string, token?: string) => {
    const response = await fetch(`${url}${path}`, { method, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
    return { status: response.status, headers: response.headers, body: await response.json() as Record<string, string> }
  }
  const { body: { token, jti } } = await ask('POST', login)
  const before = await ask('GET', me, token)
  const revoked = await ask('DELETE', `${history}/${jti}`, token)
  const after = await ask('GET', me, token)
  return {
    token: token!,
    ask,
    outcomes: [before.status, revoked.status, revoked.body.status, after.status, after.body.code, after.headers.get('www-authenticate')]
  }
}

export const EXPECTED = [
  200, 200, 'revoked', 401, 'FST_JWT_REVOKED', 'Bearer error="invalid_token", error_description="The token has been revoked"'
]
