export { revocationPlugin, revocationPlugin as default } from './plugin.ts'
export {
  FST_JWT_NOT_REVOCABLE, FST_JWT_REFRESH_INVALID, FST_JWT_REVOCATION_BAD_OPTION,
  FST_JWT_REVOCATION_FORBIDDEN, FST_JWT_REVOCATION_NOT_FOUND, FST_JWT_REVOCATION_UNAVAILABLE, FST_JWT_REVOKED
} from './errors.ts'
export type {
  Authorize, AuthorizeTarget, RedisClient, RefreshSettings, RevocationOptions, RevocationPlugin, RoutesOptions
} from './option-types.ts'
export type { LogoutProvider } from './provider-types.ts'
export type {
  AnyRequest, ClaimOptions, ClaimResult, CutoffEvent, CutoffResult, IssueClaims, IssuedToken, IssueOptions,
  ListedToken, RefreshOptions, RevocationDecorator, RevocationEvents, RevocationResult, RevocationStatus,
  RevokeResult, SessionOptions, SessionResult, SubjectOptions, TokenClaims, TokenPair, TokenRecord,
  TokensOptions, TokensPage
} from './types.ts'
