module mesh

go 1.26.8

require github.com/docker/compose/v5 v5.6.0
