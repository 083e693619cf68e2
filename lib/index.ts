export { revocationPlugin, revocationPlugin as default } from './plugin.ts'
export type { RevocationPlugin } from './plugin.ts'
export * from './errors.ts'
export type {
  Authorize, AuthorizeTarget, CutoffEvent, CutoffResult, IssueClaims, IssuedToken, IssueOptions, ListedToken, RedisClient, Revocation, RevocationEvents,
  RevocationOptions, RevocationResult, RevocationStatus, RevokeResult, RoutesOptions, SubjectOptions, TokenClaims, TokenRecord, TokensOptions, TokensPage
} from './types.ts'
