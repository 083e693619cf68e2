/**
 * An identity provider that tells this application of log-outs (OpenID Connect Back-Channel Logout 1.0).
 * @example
 * const provider: LogoutProvider = {
 *   issuer: 'https://login.example/realms/shop',
 *   audience: 'the-client-id',
 *   path: '/logout/shop'
 * }
 * app.log.info(`${provider.issuer} posts to ${provider.path}`)
 */
export interface LogoutProvider {
  /** The `iss` of its logout tokens, character by character. */
  issuer: string
  /** The client ids of this application at the provider. A logout token has one of them in its `aud`. */
  audience: string | readonly string[]
  /**
   * Where it posts its logout tokens: the `backchannel_logout_uri` to register there. Default
   * `'/backchannel-logout'`. Several providers have different paths.
   */
  path?: string
  /**
   * The namespace of `@fastify/jwt` that has the provider's keys. The plugin need not guard it. Default: the
   * first one that the plugin guards.
   */
  namespace?: string
  /**
   * The `iss` of the access tokens that a log-out ends. Default: `issuer`. `''` is for an application that
   * signs tokens of its own, without `iss`, and puts the provider's `sid` or `sub` into them.
   */
  tokenIssuer?: string
}
