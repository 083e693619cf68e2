import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import ts from 'typescript'
import type { Owner } from './redis.ts'
import { place } from './snippets.ts'

/* The @examples of the public types, each as a file of its own. */

const LIB = join(import.meta.dirname, '..', '..', 'lib')
/** Whose examples register the plugin themselves. */
const OPTIONS = 'option-types.ts'

export interface Documented {
  /** The type, or the type and its member. */
  name: string
  file: string
  isMethod: boolean
  /** undefined: it has no example. */
  code: string | undefined
}

export type Example = Documented & { code: string }

export interface PlacedExample {
  name: string
  /** Where it is. Its default export runs it, given what it takes from around it. */
  path: string
  /** Whether it registers the plugin itself. */
  registers: boolean
  /** Whether it has the plugin register `@fastify/jwt`. */
  registersJwt: boolean
}

/** What an application gives and gets is there, but for claims. */
const FILES = [...(await readdir(LIB)).filter((file) => file.endsWith('types.ts')), join('domain', 'claims.ts')]
const sources = await Promise.all(FILES.map(sourceOf))
export const documented = sources.flatMap(documentedIn)
const examples = documented.filter((example): example is Example => example.code !== undefined)
/** What `index.ts` exports. */
export const published = new Set((await readFile(join(LIB, 'index.ts'), 'utf8')).match(/\b[A-Z]\w+/g))

async function sourceOf (file: string) {
  return ts.createSourceFile(file, await readFile(join(LIB, file), 'utf8'), ts.ScriptTarget.Latest, true)
}

/** Each type of a file, and each of its members, with its example if it has one. */
function documentedIn (source: ts.SourceFile): Documented[] {
  const types = source.statements
    .filter((node) => ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node))
  return types.flatMap((type) => [
    { ...documentedOf(source, type), name: type.name.text },
    ...namedMembersOf(type).map((member) => ({
      ...documentedOf(source, member), name: `${type.name.text}.${member.name!.getText(source)}`
    }))
  ])
}

function namedMembersOf (type: ts.Declaration) {
  return ts.isInterfaceDeclaration(type) ? type.members.filter(({ name }) => name !== undefined) : []
}

function documentedOf (source: ts.SourceFile, node: ts.Node) {
  const example = ts.getJSDocTags(node).find((tag) => tag.tagName.text === 'example')
  const code = ts.getTextOfJSDocComment(example?.comment)
  return { file: source.fileName, isMethod: ts.isMethodSignature(node), code }
}

const registersJwt = ({ code }: { code: string }) => /\bjwt: /.test(code)

/** What stands around an example: it imports what the example names, and declares what the scene has. */
function moduleOf ({ code, file }: Example) {
  const scene = file === OPTIONS
    ? registersJwt({ code })
      ? '{ app, secret }: { app: FastifyInstance, secret: string }'
      : '{ app }: { app: FastifyInstance }'
    : '{ app, request, reply, id, claims, refreshToken }: { ' +
      'app: FastifyInstance, request: FastifyRequest, reply: FastifyReply, id: string, refreshToken: string, ' +
      'claims: { jti: string, sub: string } }'
  const named = [...published].filter((name) => new RegExp(`\\b${name}\\b`).test(code))
  const imported = named.map((name) => name.startsWith('FST_') ? name : `type ${name}`)
  return `import '@fastify/jwt'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import revocation, { ${imported.join(', ')} } from 'fastify-jwt-revocation'
export default async function (${scene}) {
  {
${code}
  }
}
`
}

/** Puts each example where it finds what it imports. */
export async function placeExamples (t: Owner, redis: string): Promise<PlacedExample[]> {
  const files = Object.fromEntries(examples.map((example) => [`${example.name}.ts`, moduleOf(example)]))
  const dir = await place(t, files, { redis })
  return examples.map(({ name, file, code }) =>
    ({ name, path: join(dir, `${name}.ts`), registers: file === OPTIONS, registersJwt: registersJwt({ code }) }))
}
