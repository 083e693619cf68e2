import type { VerifyRules } from './verifiable.ts'

export type SignOptions = Record<string, unknown>

/** One `@fastify/jwt` that signs. */
export interface Signer {
  sign: (claims: object, options?: object) => string | Promise<string>
  /** The sign options that it was registered with. Default: none. */
  signOptions?: SignOptions
  /** The verify options that it was registered with. Default: none. */
  verifyOptions?: VerifyRules
}

/** The signer of a namespace. @throws TypeError where the plugin guards no such namespace */
export function signerOf (
  method: string, namespace: string, signers: ReadonlyMap<string | undefined, Signer>
): Signer {
  const signer = signers.get(namespace)
  if (signer !== undefined) return signer
  const names = [...signers.keys()].filter((name) => name !== undefined)
  const cure = names.length > 0
    ? `give one of ${names.join(', ')}`
    : 'leave it out, or name the namespaces of @fastify/jwt in option "namespace" of the plugin'
  throw new TypeError(`${method}() takes as namespace one that the plugin guards; ${cure}`)
}
