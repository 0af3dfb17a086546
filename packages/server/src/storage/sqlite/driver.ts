/** Not an import: an older Node would load no file that leads here, before anybody could say that it is too old. */
export const sqlite = process.getBuiltinModule('node:sqlite')
