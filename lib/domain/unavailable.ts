import { FST_JWT_REFRESH_INVALID, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED } from '../errors.ts'

/** The error for what `issue()` can not do now, but can do in a second. */
export function unavailable (cause: string): Error {
  return new FST_JWT_REVOCATION_UNAVAILABLE({ cause: new Error(cause) })
}

const OWN = [FST_JWT_REFRESH_INVALID, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED]

/** Gives the store's answer, or its failure as the plugin's own error. */
export async function orUnavailable<T> (answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    if (OWN.some((own) => cause instanceof own)) throw cause
    throw new FST_JWT_REVOCATION_UNAVAILABLE({ cause })
  }
}
