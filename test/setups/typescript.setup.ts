import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { FOLDER, place, ROOT, run } from './support.ts'

/*
 * Goal: the types hold under each way that TypeScript finds a package.
 * Method: test/support/consumer/types.ts asserts the types of each export, literal ones included, so that what is lost
 * and became `any` fails. Declarations of all packages are checked as well.
 */

type Type = 'module' | 'commonjs'

/** TypeScript before 5.8 lets no CommonJS import an ES module under node16 or nodenext, and 7 knows no node10. */
const MATRIX: Array<[compiler: string, module: string, moduleResolution: string, type: Type]> = [
  ['typescript-5.4', 'commonjs', 'node10', 'commonjs'],
  ['typescript-5.4', 'node16', 'node16', 'module'],
  ['typescript-5.4', 'preserve', 'bundler', 'commonjs'],
  ['typescript', 'commonjs', 'node10', 'commonjs'],
  ['typescript', 'nodenext', 'nodenext', 'commonjs'],
  ['typescript', 'esnext', 'bundler', 'module'],
  ['typescript-6', 'commonjs', 'node10', 'commonjs'],
  ['typescript-6', 'nodenext', 'nodenext', 'module'],
  ['typescript-6', 'preserve', 'bundler', 'module'],
  ['typescript-7', 'node16', 'node16', 'module'],
  ['typescript-7', 'nodenext', 'nodenext', 'module'],
  ['typescript-7', 'nodenext', 'nodenext', 'commonjs'],
  ['typescript-7', 'preserve', 'bundler', 'module'],
  ['typescript-7', 'preserve', 'bundler', 'commonjs']
]

/** An application that declares what its tokens carry. In a program of its own, because such a declaration is global. */
const PAYLOAD = `
import Fastify from 'fastify'
import revocation, { type IssueClaims } from 'fastify-jwt-revocation'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    payload: { sub: string, role: 'user' | 'admin', jti: string, iat?: number } | { sub: string, scope: string }
  }
}

export async function use () {
  const app = Fastify()
  await app.register(revocation)
  const claims: IssueClaims = { sub: 'alice', role: 'user' }
  await app.revocation.issue(claims)
  await app.revocation.issue({ sub: 'alice', role: 'admin', jti: 'a', iat: 1 })
  await app.revocation.issue({ sub: 'a service', scope: 'read' }, { expiresIn: '1h' })
  // @ts-expect-error
  await app.revocation.issue({ sub: 'alice', rol: 'user' })
  // @ts-expect-error
  await app.revocation.issue({ sub: 'alice', role: 'user', scpoe: 'read' })
  // @ts-expect-error
  await app.revocation.issue({ sub: 'alice', role: 'root' })
  // @ts-expect-error
  await app.revocation.issue({ role: 'user' })
}
`

const consumer = (await readFile(join(ROOT, 'test/support/consumer/types.ts'), 'utf8')).replaceAll('../../../lib/index.ts', 'fastify-jwt-revocation')

const versions: Record<string, string> = {}
for (const [compiler] of MATRIX) versions[compiler] ??= JSON.parse(await readFile(join(FOLDER, 'node_modules', compiler, 'package.json'), 'utf8')).version

t.test('four TypeScripts are tried', async (t) => {
  t.strictSame(Object.values(versions).map((version) => version.replace(/\.\d+$/, '')), ['5.4', '5.9', '6.0', '7.0'])
})

const compile = async (dir: string, compiler: string) => run(dir, process.execPath, [join(FOLDER, 'node_modules', compiler, 'bin/tsc'), '-p', '.'])

for (const [compiler, module, moduleResolution, type] of MATRIX) {
  const label = `TypeScript ${versions[compiler]}, module ${module}, moduleResolution ${moduleResolution}, "type": "${type}"`
  const compilerOptions = {
    module,
    moduleResolution,
    target: 'es2022',
    lib: ['es2022'],
    strict: true,
    esModuleInterop: true,
    skipDefaultLibCheck: true,
    noEmit: true,
    types: ['node'],
    ...(compiler === 'typescript-6' && moduleResolution === 'node10' && { ignoreDeprecations: '6.0' })
  }
  t.test(`the types hold under ${label}`, async (t) => {
    const dir = await place(t, {
      'types.ts': consumer,
      'package.json': JSON.stringify({ type }),
      'tsconfig.json': JSON.stringify({ compilerOptions, files: ['types.ts'] })
    })
    t.strictSame(await compile(dir, compiler), { code: 0, output: '' })
  })
}

for (const [compiler, module, moduleResolution, type] of [MATRIX[0]!, MATRIX[4]!, MATRIX[8]!, MATRIX[10]!]) {
  t.test(`issue() takes the payload that an application declares, under TypeScript ${versions[compiler]}, module ${module}`, async (t) => {
    const compilerOptions = {
      module, moduleResolution, target: 'es2022', lib: ['es2022'], strict: true, esModuleInterop: true, skipLibCheck: true, noEmit: true, types: ['node']
    }
    const dir = await place(t, {
      'payload.ts': PAYLOAD,
      'package.json': JSON.stringify({ type }),
      'tsconfig.json': JSON.stringify({ compilerOptions, files: ['payload.ts'] })
    })
    t.strictSame(await compile(dir, compiler), { code: 0, output: '' })
  })
}
