export { revocationPlugin, revocationPlugin as default } from './plugin.ts'
export * from './errors.ts'
export type {
  Authorize, AuthorizeTarget, CutoffEvent, CutoffResult, IssuedToken, IssueOptions, ListedToken, RedisClient, Revocation, RevocationEvents,
  RevocationOptions, RevocationResult, RevocationStatus, RevokeResult, RoutesOptions, SubjectOptions, TokenClaims, TokenRecord, TokensOptions, TokensPage
} from './types.ts'
