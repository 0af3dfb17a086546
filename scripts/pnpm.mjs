/** The one version that installs and packs this workspace. */
export const PNPM = '12.21.0'
