import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { FOLDER, place, ROOT, run } from './support.ts'

/*
 * Goal: with option `jwt` nobody sees that tokens are verified in another way, whichever versions are installed.
 * Method: the matrix of test/support/short-way.ts, with the packed plugin beside the lowest and the newest versions of
 * Fastify and @fastify/jwt that it takes.
 */

/**
 * @fastify/jwt 10.2.1 verifies by `verify.key` where a call gives no options, and by the secret where it gives any. Calls
 * that only say where the token is share the outcome of those without options.
 */
const DIFFERENT_ITSELF: Record<string, string[]> = { lowest: ['verify.key'] }

const VERSIONS = {
  lowest: { fastify: '5.0.0', '@fastify/jwt': '10.2.1' },
  newest: { fastify: '^5.0.0', '@fastify/jwt': '^10.2.1' }
}

const RUN = `
import cookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fastify from 'fastify'
import revocation from 'fastify-jwt-revocation'
import { CONFIGURATIONS, differencesOf } from './short-way.js'

// Messages hold the time.
const now = Date.now()
Date.now = () => now
for (const [name, configuration] of Object.entries(CONFIGURATIONS)) {
  const { differences, compared } = await differencesOf({ fastify, fastifyJwt, cookie, revocation }, configuration)
  console.log('> ' + JSON.stringify({ name, compared, differences: differences.slice(0, 5) }))
}
`

/** Where npm looks for packages is said in here. */
const npmEnv = process.env as Record<string, string>
const tarball = join(FOLDER, (await readdir(FOLDER)).find((name) => name.endsWith('.tgz'))!)
const source = await readFile(join(ROOT, 'test/support/short-way.ts'), 'utf8')
const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } })

for (const [which, versions] of Object.entries(VERSIONS)) {
  t.test(`what a caller sees is @fastify/jwt's own, to the byte, with the ${which} versions`, async (t) => {
    const dependencies = { ...versions, '@fastify/cookie': '^11.1.5', 'fastify-jwt-revocation': `file:${tarball}` }
    const dir = await place(t, {
      'package.json': JSON.stringify({ private: true, type: 'module', dependencies }),
      'short-way.js': outputText,
      'run.js': RUN
    })
    const installed = await run(dir, 'npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts', '--loglevel=error'], npmEnv)
    t.equal(installed.code, 0, 'they are installed', { output: installed.output })
    for (const [name, version] of Object.entries(versions)) {
      const { version: found } = JSON.parse(await readFile(join(dir, 'node_modules', name, 'package.json'), 'utf8'))
      if (!version.startsWith('^')) t.equal(found, version, name)
    }
    const { code, output } = await run(dir, process.execPath, ['run.js'])
    t.equal(code, 0, 'it runs', { output })
    const results = output.split('\n').filter((line) => line.startsWith('> ')).map((line) => JSON.parse(line.slice(2)))
    t.ok(results.length > 60)
    for (const { name, compared, differences } of results) {
      t.ok(compared > 100)
      if (!DIFFERENT_ITSELF[which]?.includes(name)) t.strictSame(differences, [], name)
    }
  })
}
