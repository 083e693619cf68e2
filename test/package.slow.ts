import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import t from 'tap'
import * as lib from '../lib/index.ts'
import { ownPrefix } from './support/app.ts'
import { node } from './support/child.ts'
import { startRedis } from './support/redis.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const TYPESCRIPT = join(ROOT, 'node_modules/typescript/bin/tsc')

const run = promisify(execFile)
const folder = await mkdtemp(join(tmpdir(), 'package-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
const installed = join(folder, 'node_modules/fastify-jwt-revocation')
await install()

t.test('only what a user needs is packed', async (t) => {
  const files = (await readdir(installed, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(installed.length + 1))
  t.same(files.filter((file) => !file.startsWith('dist/')).sort(), ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json'])

  const sources = (await readdir(join(ROOT, 'lib'), { recursive: true })).filter((file) => file.endsWith('.ts'))
  const built = sources.flatMap((file) => ['.js', '.js.map', '.d.ts'].map((extension) => `dist/${file.slice(0, -'.ts'.length)}${extension}`))
  t.same(files.filter((file) => file.startsWith('dist/')).sort(), built.sort())
})

t.test('publint finds nothing to say', async (t) => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true, pack: false })
  t.same(messages.map((message) => formatMessage(message, pkg)), [])
})

t.test('the types hold for a strict user, with the clients of ioredis 5, ioredis 6 and iovalkey', async (t) => {
  t.equal(await compile(), '')
})

t.test('an application runs on it, imported and required', async (t) => {
  const redis = await startRedis(t)
  const { stdout } = await run(...node(join(folder, 'app.js'), redis.url, ownPrefix()))
  const statuses = [200, 200, 401]
  t.same(JSON.parse(stdout), {
    names: Object.keys(lib).sort(),
    sameDefault: true,
    sameRequired: true,
    memory: { statuses, store: 'memory' },
    redis: { statuses, store: 'redis' }
  })
})

t.test('CommonJS requires it as it is', async (t) => {
  const script = join(folder, 'required.cjs')
  await writeFile(script, `
    const { revocationPlugin, default: plugin, FST_JWT_REVOKED } = require('fastify-jwt-revocation')
    const app = require('fastify')()
    app.register(require('@fastify/jwt'), { secret: 'a secret of more than 32 characters', sign: { expiresIn: '15m' } })
    app.register(revocationPlugin)
    app.ready()
      .then(() => app.revocation.issue({ sub: 'alice' }))
      .then(({ jti }) => app.revocation.revoke({ jti }))
      .then(({ status }) => console.log(JSON.stringify({ same: plugin === revocationPlugin, code: new FST_JWT_REVOKED().code, status })))
      .then(() => app.close())
  `)
  const { stdout } = await run(...node(script))
  t.same(JSON.parse(stdout), { same: true, code: 'FST_JWT_REVOKED', status: 'revoked' })
})

/** The tarball, and beside it nothing but what it asks for and what the user's own code imports. */
async function install () {
  await run('env', ['-u', 'NODE_OPTIONS', 'npm', 'pack', '--pack-destination', folder], { cwd: ROOT })
  const tarball = (await readdir(folder)).find((file) => file.endsWith('.tgz'))!
  await mkdir(installed, { recursive: true })
  await run('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components', '1'])
  const { dependencies, peerDependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  for (const name of Object.keys({ ...dependencies, ...peerDependencies, ioredis5: '', iovalkey: '', '@types/node': '' })) {
    await mkdir(dirname(join(folder, 'node_modules', name)), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name), 'dir')
  }
}

/** What test/support/consumer imports from lib comes from the package here. Gives what the compiler has to say. */
async function compile (): Promise<string> {
  const compilerOptions = { module: 'nodenext', target: 'es2022', strict: true, skipLibCheck: false, skipDefaultLibCheck: true, types: ['node'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  for (const file of ['app.ts', 'types.ts']) {
    const source = await readFile(join(ROOT, 'test/support/consumer', file), 'utf8')
    await writeFile(join(folder, file), source.replaceAll('../../../lib/index.ts', 'fastify-jwt-revocation'))
  }
  const { stdout } = await run(...node(TYPESCRIPT, '-p', folder)).catch((error) => error)
  return stdout
}
