// Bundles the portal's scripts, styles, fonts and icons into the Python package.
//
//   src/app.js, src/app.css   on every page
//   src/pages/*.{js,css}      on the pages that ask for them
//   src/public/*              as they are: our own drawings and icons
//   icons.txt                 names of Tabler icons, one a line; `filled/name` for the filled kind
//
// Names carry a hash of the content, so that browsers may keep them for ever; manifest.json tells which
// name stands for which. Third-party code is never committed: it lives in node_modules and in the output.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const output = join(here, '../src/voltyard/portal/static')
const part = output + '.part'

function entries() {
  const found = { app: join(here, 'src/app.js'), 'app-style': join(here, 'src/app.css') }
  const pages = join(here, 'src/pages')
  if (existsSync(pages)) {
    for (const name of readdirSync(pages).sort()) {
      if (['.js', '.css'].includes(extname(name))) found[`pages/${name}`] = join(pages, name)
    }
  }
  return Object.values(found)
}

// One symbol a line of icons.txt, drawn with the colour of the text around it.
function sprite() {
  const names = readFileSync(join(here, 'icons.txt'), 'utf8')
    .split('\n').map((line) => line.replace(/#.*/, '').trim()).filter(Boolean)
  const symbols = names.map((name) => {
    const [kind, icon] = name.includes('/') ? name.split('/') : ['outline', name]
    const path = join(here, 'node_modules/@tabler/icons/icons', kind, `${icon}.svg`)
    if (!existsSync(path)) {
      console.error(`icons.txt: Tabler has no ${kind} icon "${icon}"; see node_modules/@tabler/icons/icons/${kind}`)
      process.exit(1)
    }
    const drawing = readFileSync(path, 'utf8').match(/<svg[^>]*>([\s\S]*)<\/svg>/)[1]
      .replace(/<path stroke="none" d="M0 0h24v24H0z" fill="none"\s*\/>/, '').replace(/\n\s*/g, '')
    const look = kind === 'filled'
      ? 'fill="currentColor"'
      : 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    const id = kind === 'filled' ? `${icon}-filled` : icon
    return `<symbol id="${id}" viewBox="0 0 24 24" ${look}>${drawing}</symbol>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join('')}</svg>\n`
}

function hashed(name, content) {
  const mark = createHash('sha256').update(content).digest('hex').slice(0, 8)
  return `${basename(name, extname(name))}-${mark}${extname(name)}`
}

rmSync(part, { recursive: true, force: true })
mkdirSync(part, { recursive: true })

const result = await build({
  entryPoints: entries(),
  outbase: join(here, 'src'),
  outdir: part,
  entryNames: '[dir]/[name]-[hash]',
  assetNames: 'fonts/[name]-[hash]',
  bundle: true,
  minify: true,
  metafile: true,
  format: 'esm',
  target: ['es2022', 'chrome111', 'firefox114', 'safari16.4'],
  loader: { '.woff2': 'file', '.svg': 'dataurl', '.png': 'dataurl' },
  legalComments: 'linked',
  logLevel: 'warning',
  absWorkingDir: here,
}).catch(() => process.exit(1))

const manifest = {}
const rows = []
const partName = basename(part)
for (const [path, made] of Object.entries(result.metafile.outputs)) {
  const name = path.slice(path.indexOf(partName) + partName.length + 1)
  if (made.entryPoint) {
    manifest[made.entryPoint.replace(/^src\//, '')] = name
    rows.push([name, gzipSync(readFileSync(join(part, name)), { level: 9 }).length])
  }
  // Styles that a script imports stand under the script's name.
  if (made.entryPoint && made.cssBundle) {
    const style = made.cssBundle.slice(made.cssBundle.indexOf(partName) + partName.length + 1)
    manifest[made.entryPoint.replace(/^src\//, '').replace(/\.js$/, '.css')] = style
  }
}

const icons = sprite()
manifest['icons.svg'] = hashed('icons.svg', icons)
writeFileSync(join(part, manifest['icons.svg']), icons)
rows.push([manifest['icons.svg'], gzipSync(icons, { level: 9 }).length])

for (const name of readdirSync(join(here, 'src/public')).sort()) {
  const content = readFileSync(join(here, 'src/public', name))
  manifest[name] = hashed(name, content)
  writeFileSync(join(part, manifest[name]), content)
}

// The Inter file that nearly every page needs, so that a page may preload it.
const latin = Object.keys(result.metafile.outputs).find((path) => /inter-latin-wght-normal-[^/]*\.woff2$/.test(path))
if (latin) manifest['inter.woff2'] = latin.slice(latin.indexOf(partName) + partName.length + 1)

// Beside each text its form for browsers that take Brotli, pressed once and not at each request.
for (const name of readdirSync(part, { recursive: true })) {
  if (['.js', '.css', '.svg'].includes(extname(name))) {
    writeFileSync(join(part, name + '.br'), brotliCompressSync(readFileSync(join(part, name))))
  }
}

writeFileSync(join(part, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n')

rmSync(output, { recursive: true, force: true })
renameSync(part, output)

const total = rows.reduce((sum, [, size]) => sum + size, 0)
console.log('gzip ' + rows.map(([name, size]) => `${name} ${(size / 1024).toFixed(1)}`).join(', ')
  + `; together ${(total / 1024).toFixed(1)} KiB`)
