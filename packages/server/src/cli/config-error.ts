/** A setting that is unknown or wrong; the message names it and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
