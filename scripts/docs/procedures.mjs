// docs/procedures.md: the procedures of auth.router, their inputs, and what the code cannot say of them.
import { inputFields } from './inputs.mjs'
import { INTRO, SENTENCES, TITLES } from './procedure-sentences.mjs'
import { interfaceText, load, requireSame } from './project.mjs'

const CALLERS = {
  public: 'anyone',
  user: 'signed-in users',
  fresh: 'signed-in users whose session is fresh',
  admin: 'administrators',
  'fresh admin': 'administrators whose session is fresh',
}
const SHAPES = ['User', 'UserRow', 'Session', 'SignedIn', 'Identity', 'AuditEntry', 'AccountEvent']

export async function proceduresPage() {
  const { createTestAuth } = await load('@trpc-login/server/testing')
  const auth = createTestAuth()
  const procedures = Object.entries(auth.router._def.procedures).map(([path, { _def }]) => ({ path, ..._def }))
  await auth.close()
  const where = 'scripts/docs/procedure-sentences.mjs'
  requireSame(
    'procedures',
    procedures.map(({ path }) => path),
    Object.keys(SENTENCES),
    where,
  )

  const groups = Map.groupBy(procedures, ({ path }) => (path.includes('.') ? path.split('.')[0] : ''))
  requireSame('groups', [...groups.keys()], Object.keys(TITLES), where)
  return [
    INTRO,
    '## Shapes',
    'Dates are `Date` in the SDK and ISO 8601 strings in plain JSON.',
    `\`\`\`ts\n${SHAPES.map(interfaceText).join('\n\n')}\n\`\`\``,
    ...Object.entries(TITLES).flatMap(([group, title]) => [`## ${title}`, ...groups.get(group).map(section)]),
    '',
  ].join('\n\n')
}

function section({ path, type, meta, inputs }) {
  const { does, returns, fails = [] } = SENTENCES[path]
  const alone = meta.alone === true ? ', never in a batch' : ''
  const reasons = fails.map((reason) => `[\`${reason}\`](errors.md#${reason})`).join(', ')
  return [
    `### auth.${path}`,
    `${type}, for ${CALLERS[meta.access]}${alone}`.replace(/^./, (letter) => letter.toUpperCase()),
    does,
    fieldsOf(inputs),
    `Returns ${returns}.`,
    ...(reasons === '' ? [] : [`Reasons of its own: ${reasons}.`]),
  ].join('\n\n')
}

function fieldsOf(inputs) {
  const fields = inputs.flatMap(inputFields)
  if (fields.length === 0) return 'No input.'
  const rows = fields.map(({ name, type, required, limits }) => `| \`${name}\`${required ? '' : ', optional'} | ${type} | ${limits} |`)
  return `| input | type | limits |\n| --- | --- | --- |\n${rows.join('\n')}`
}
