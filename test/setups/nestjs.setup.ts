import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { inSeconds, signed } from '../support/app.ts'
import { startRedis } from '../support/redis.ts'
import { cycle, EXPECTED, FOLDER, patiently, PATIENT_JEST, place, recipe, run, serve } from './support.ts'

/** The recipe's. */
const SECRET = 'at least 32 bytes, from your configuration'

/** What Nest's CLI generates, as far as it matters here: today, and before it moved to nodenext. */
const COMPILERS: Record<string, object> = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext', resolvePackageJsonExports: true, isolatedModules: true },
  commonjs: { module: 'commonjs' }
}

/** Where each Nest is installed. */
const NESTS = { 'NestJS 12': FOLDER, 'NestJS 11': join(FOLDER, 'nest11') }

async function application (t: Test, folder: string, options: object) {
  const { files } = await recipe('nestjs')
  const compilerOptions = {
    target: 'ES2023',
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    esModuleInterop: true,
    strict: true,
    skipLibCheck: true,
    rootDir: '.',
    outDir: './dist',
    types: ['node', 'jest'],
    ...options
  }
  files['create-app.ts'] = patiently(files['create-app.ts']!)
  return place(t, { ...files, 'package.json': '{}', 'tsconfig.json': JSON.stringify({ compilerOptions, include: ['*.ts'] }) }, folder)
}

for (const [nest, folder] of Object.entries(NESTS)) {
  t.test(`beside ${nest} there is one Fastify`, async (t) => {
    const copies = (await readdir(join(folder, 'node_modules'), { recursive: true }))
      .filter((path) => /(^|node_modules[\\/])fastify[\\/]package\.json$/.test(path))
    t.strictSame(copies, [join('fastify', 'package.json')])
    const { version } = JSON.parse(await readFile(join(folder, 'node_modules/fastify/package.json'), 'utf8'))
    const nest = JSON.parse(await readFile(join(folder, 'node_modules/@nestjs/platform-fastify/package.json'), 'utf8'))
    t.equal(version, nest.dependencies.fastify, 'the one that Nest depends on')
  })

  t.test(`an application of ${nest} compiles with module commonjs`, async (t) => {
    const dir = await application(t, folder, COMPILERS.commonjs!)
    t.strictSame(await run(dir, 'tsc', ['-p', '.', '--noEmit']), { code: 0, output: '' })
  })

  t.test(`an application of ${nest} compiles with module nodenext, and refuses what was revoked, by its code`, async (t) => {
    const dir = await application(t, folder, COMPILERS.nodenext!)
    const { code, output } = await run(dir, 'tsc', ['-p', '.'])
    t.strictSame({ code, output }, { code: 0, output: '' }, 'it compiles')
    const redis = await startRedis(t)
    const url = await serve(t, join(dir, 'dist/main.js'), { REDIS_URL: redis.url })
    const { outcomes, token, ask } = await cycle(url, { me: '/api/me', login: '/api/login', history: '/api/v1/jwt/history' })
    t.strictSame(outcomes, EXPECTED)
    const refused = await ask('GET', '/api/public', token)
    t.match(refused, { status: 401, body: { statusCode: 401, code: 'FST_JWT_REVOKED', message: 'Token has been revoked' } }, 'by the hook as well')
    t.equal((await ask('POST', '/api/login', token)).status, 201, 'but for the route that is left out')
    t.equal((await ask('GET', '/api/public')).status, 200)
    t.match(await ask('GET', '/api/me'), { status: 401, body: { message: 'No Authorization was found in request.headers' } })
    t.match(await ask('GET', '/api/v1/jwt/history', token), { status: 401, body: { code: 'FST_JWT_REVOKED' } })

    const withoutJti = await signed({ sub: 'alice', exp: inSeconds(60) }, SECRET)
    t.match(await ask('GET', '/api/me', withoutJti), { status: 401, body: { code: 'FST_JWT_NOT_REVOCABLE' } }, 'by the guard')

    const spared = (await ask('POST', '/api/login')).body.token
    t.equal((await ask('GET', '/v1/jwt/history', spared)).status, 404, 'the routes are where routes.prefix puts them')
    t.equal((await ask('GET', '/api/v1/jwt/history', spared)).status, 200)
    await redis.kill()
    const unavailable = await ask('GET', '/api/me', spared)
    t.match(unavailable, { status: 503, body: { code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again' } })
    t.equal(unavailable.headers.get('retry-after'), '1')
  })
}

t.test('the Jest of NestJS 11 runs its test, with the line of the recipe', async (t) => {
  const dir = await application(t, NESTS['NestJS 11'], COMPILERS.nodenext!)
  const { code, output } = await run(dir, 'jest', PATIENT_JEST)
  t.equal(code, 0, 'the test of the recipe passes', { output })
  t.match(output, /Tests: +1 passed, 1 total/)
})
