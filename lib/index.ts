export { revocationPlugin, revocationPlugin as default } from './plugin.ts'
export * from './errors.ts'
export type {
  Authorize, AuthorizeTarget, IssuedToken, IssueOptions, RedisClient, Revocation, RevocationEvents, RevocationOptions,
  RevocationResult, RevocationStatus, TokenClaims, TokenRecord
} from './types.ts'
